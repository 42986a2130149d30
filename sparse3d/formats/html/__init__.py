# SPDX-License-Identifier: Apache-2.0
"""One HTML page that plays a scene."""
