# SPDX-License-Identifier: Apache-2.0
"""The live viewer: a page in any browser that shows a scene with the pictures of our own kernels.

`safe` and `door` judge every request, `pictures` draws, `page` holds panels and cameras; `sparse3d view` starts it.
"""
