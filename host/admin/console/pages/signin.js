// Who asks has to show that they may.
import { html, nothing } from "../vendor/lit-html.js";

let wrong = null;

export function view(app) {
  const enter = async (event) => {
    event.preventDefault();
    wrong = null;
    try {
      await app.enter(new FormData(event.target).get("secret").trim());
    } catch (error) {
      wrong = error.message;
      app.redraw();
    }
  };
  return html`<main class="signin">
    <h1><img src="icon.svg" alt="" width="32" height="32"> Marquee</h1>
    <p>On the machine of the host, this prints a link that opens the console:</p>
    <pre><code>marquee console</code></pre>
    <p>Or show the host's token (<code>MARQUEE_ADMIN_TOKEN</code>). It is kept until this tab is closed.</p>
    <form @submit=${enter}>
      <label for="secret">Token</label>
      <input id="secret" name="secret" type="password" autocomplete="off" required minlength="32">
      <button class="main">Sign in</button>
    </form>
    ${wrong === null ? nothing : html`<p class="error" role="alert">${wrong}</p>`}
  </main>`;
}
