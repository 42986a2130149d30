# SPDX-License-Identifier: Apache-2.0
"""The start: points, depth maps and a hull that training begins with, and the splats made from the points."""
