# SPDX-License-Identifier: Apache-2.0
"""Training terms: what is added to the photometric loss, or done to the splats, where photos are few.

`config` has their weights (no torch), `term` their interface, `table` their names. To add one: its weight in `config`,
one file with `@TERMS.register`, imported in `table`.
"""
