// SPDX-License-Identifier: Apache-2.0
// Two fixed loops that say how fast this machine is right now: what a timing is read against.
#pragma once

namespace s3d {

// Billions of float operations a second over all threads: independent FMA chains of kLanes lanes.
double calibrate_gflops();
// Billions of bytes a second, read plus written, over all threads: copies of 32 MB.
double calibrate_copy_gbytes();

}  // namespace s3d
