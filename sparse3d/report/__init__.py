# SPDX-License-Identifier: Apache-2.0
"""report.html: what a run made, on one page."""
