// SPDX-License-Identifier: Apache-2.0
// build.mjs puts the worker's code into the player as text.
declare module "virtual:worker" {
  const code: string;
  export default code;
}
