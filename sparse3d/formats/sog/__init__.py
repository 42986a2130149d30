# SPDX-License-Identifier: Apache-2.0
"""SOG: bundle, folder, streamed levels; version 1 is read."""
