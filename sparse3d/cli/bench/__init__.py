# SPDX-License-Identifier: Apache-2.0
"""`sparse3d bench ...`"""
