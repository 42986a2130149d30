// SPDX-License-Identifier: Apache-2.0
// Small helpers over WebGL2.

export type GL = WebGL2RenderingContext;

/** Throws an Error with the driver's words where a shader is refused; a lost context is no fault of the shader. */
export function makeProgram(gl: GL, vertex: string, fragment: string): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(kind) as WebGLShader;
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = (gl.getAttachedShaders(program) ?? []).map((s) => gl.getShaderInfoLog(s));
    throw new Error(`the graphics driver refused a program: ${[...logs, gl.getProgramInfoLog(program)].join(" ")}`);
  }
  return program;
}

/** Location of each uniform by name. */
export function uniformsOf(gl: GL, program: WebGLProgram): Record<string, WebGLUniformLocation | null> {
  const out: Record<string, WebGLUniformLocation | null> = {};
  const count = gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) as number;
  for (let i = 0; i < count; i++) {
    const name = (gl.getActiveUniform(program, i) as WebGLActiveInfo).name;
    out[name] = gl.getUniformLocation(program, name);
  }
  return out;
}

/** A texture without filtering at a unit, `layers` 0 for a plain one. */
export function makeTexture(
  gl: GL,
  place: number,
  format: number,
  width: number,
  rows: number,
  layers = 0,
): WebGLTexture {
  const target = layers ? gl.TEXTURE_2D_ARRAY : gl.TEXTURE_2D;
  const texture = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + place);
  gl.bindTexture(target, texture);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, filter, gl.NEAREST);
  if (layers) gl.texStorage3D(target, 1, format, width, rows, layers);
  else gl.texStorage2D(target, 1, format, width, rows);
  return texture;
}
