// SPDX-License-Identifier: Apache-2.0
// Everything on the page that is not the picture.
import type { Mode } from "./controls";

const HINT_MS = 5000;

export const byId = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

const isReport = (): boolean => document.documentElement.dataset.kind === "report";

/** Whether keys and wheel are for the scene: in a report, which scrolls, only once the scene was clicked. */
export const heeds = (): boolean => !isReport() || document.activeElement === byId("view") || isFull();

const isFull = (): boolean => Boolean(document.fullscreenElement);

export function setState(state: "loading" | "ready" | "failed"): void {
  document.documentElement.dataset.state = state;
}

export function showProgress(text: string, share?: number): void {
  byId("status").textContent = text;
  const bar = byId<HTMLProgressElement>("progress");
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

/** A sentence in place of the picture, with a button that loads the page again. */
export function showFailure(text: string): void {
  setState("failed");
  const message = byId("message");
  (message.firstElementChild as HTMLElement).textContent = text;
  (message.lastElementChild as HTMLElement).onclick = () => location.reload();
  byId("bar").hidden = true;
  message.hidden = false;
}

export function showHint(touch: boolean): void {
  const hint = byId("hint");
  const zoom = touch ? "pinch to zoom" : isReport() ? "click and scroll to zoom" : "scroll to zoom";
  hint.textContent = `Drag to look around, ${zoom}`;
  hint.classList.add("shown");
  const hide = (): void => hint.classList.remove("shown");
  setTimeout(hide, HINT_MS);
  for (const kind of ["pointerdown", "wheel", "keydown"]) addEventListener(kind, hide, { once: true, passive: true });
}

export interface Actions {
  setMode(mode: Mode): void;
  goBack(): void;
}

/** Buttons and their keys: M, R, H or ?, F. */
export function wireBar(actions: Actions, facts: string): void {
  const [mode, full, about] = [byId("mode"), byId("full"), byId<HTMLDialogElement>("about")];
  const switchMode = (): void => {
    const fly = mode.getAttribute("aria-pressed") !== "true";
    mode.setAttribute("aria-pressed", String(fly));
    mode.title = fly ? "Orbit (M)" : "Fly (M)";
    actions.setMode(fly ? "fly" : "orbit");
  };
  const switchFull = (): void => {
    const whole = isReport() ? byId("stage") : document.documentElement;
    const done = isFull() ? document.exitFullscreen() : whole.requestFullscreen();
    // A browser may refuse; the page then stays as it is.
    done.catch(() => undefined);
  };
  const help = (): void => about.showModal();
  byId("facts").textContent = facts;
  full.hidden = !document.fullscreenEnabled;
  mode.onclick = switchMode;
  full.onclick = switchFull;
  byId("reset").onclick = () => actions.goBack();
  byId("help").onclick = help;
  about.onclick = (e) => e.target === about && about.close();
  document.addEventListener("fullscreenchange", () => {
    full.setAttribute("aria-pressed", String(isFull()));
  });
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.repeat || about.open || !heeds()) return;
    if (e.code === "KeyM") switchMode();
    else if (e.code === "KeyR") actions.goBack();
    else if (e.code === "KeyF" && !full.hidden) switchFull();
    else if (e.code === "KeyH" || e.key === "?") help();
    else return;
    e.preventDefault();
  });
  byId("bar").hidden = false;
}
