# SPDX-License-Identifier: Apache-2.0
"""What users know about their photos beyond the photos: depth and normals. Never required, never downloaded.

Nothing is imported here: the command line builds its help from `config`, and torch must not come with it.
"""
