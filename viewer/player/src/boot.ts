// SPDX-License-Identifier: Apache-2.0
// The only script that the page runs as it stands: inflates the player and runs it. The page's security policy names
// the hash of both texts, so nothing else can run.

function show(text: string): void {
  document.documentElement.dataset.state = "failed";
  const message = document.getElementById("message") as HTMLElement;
  (message.firstElementChild as HTMLElement).textContent = text;
  (message.lastElementChild as HTMLElement).hidden = true;
  message.hidden = false;
}

async function boot(): Promise<void> {
  if (typeof DecompressionStream === "undefined") {
    const need = "one from 2023 or later (Safari 16.4, Chrome 103, Firefox 113)";
    show(`This browser is too old for this page: it needs ${need}.`);
    return;
  }
  const code = document.getElementById("code") as HTMLElement;
  const bytes = Uint8Array.from(atob(code.textContent as string), (c) => c.charCodeAt(0));
  const script = document.createElement("script");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  script.textContent = await new Response(stream).text();
  code.remove();
  document.body.append(script);
}

boot().catch(() => show("This page is damaged: its program could not be unpacked. Copy the file again."));
