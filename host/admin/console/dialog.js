// One question at a time, and what came of it.
import { html, nothing, render } from "./vendor/lit-html.js";

const box = document.createElement("dialog");
box.setAttribute("aria-labelledby", "dialog-title");
const said = document.createElement("div");
said.className = "said";
said.setAttribute("role", "status");
said.setAttribute("aria-live", "polite");
document.body.append(box, said);

/** How long what was said stays. */
const STAYS = 8_000;
let timer;

/** Say what came of something. */
export function say(text, kind = "good") {
  clearTimeout(timer);
  const close = () => render(nothing, said);
  render(html`<p class=${kind}>${text} <button type="button" class="plain" @click=${close}>Close</button></p>`, said);
  if (kind === "good") timer = setTimeout(close, STAYS);
}

/**
 * Ask. `body(form)` is what stands in it, drawn again when a field changes; `act(form)` is what the button does: what it
 * returns is said, and what it throws is shown in the dialog, which stays.
 */
export function ask({ title, body, button, danger = false, act }) {
  const state = { busy: false, error: null };
  const form = () => new FormData(box.querySelector("form") ?? undefined);
  const submit = async (event) => {
    event.preventDefault();
    Object.assign(state, { busy: true, error: null });
    draw();
    try {
      const told = await act(form());
      box.close();
      if (told) say(told);
    } catch (error) {
      Object.assign(state, { busy: false, error: error.message });
      draw();
    }
  };
  const draw = () => render(html`<form @submit=${submit} @input=${draw} @change=${draw}>
    <h2 id="dialog-title">${title}</h2>
    ${body(form())}
    ${state.error === null ? nothing : html`<p class="error" role="alert">${state.error}</p>`}
    <p class="buttons"><button type="button" ?disabled=${state.busy} @click=${() => box.close()}>Cancel</button>
    <button class=${danger ? "danger" : "main"} ?disabled=${state.busy}>${state.busy ? "Working…" : button}</button></p>
  </form>`, box);
  render(nothing, box);
  draw();
  // A second time, now that there are fields to read.
  draw();
  box.showModal();
}
