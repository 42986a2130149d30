# SPDX-License-Identifier: Apache-2.0
"""The command line. Only this layer reads argv, the environment and the clock, and talks to the terminal."""
