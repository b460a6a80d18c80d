/* What pages do beyond htmx: keys, notes with undo, focus after swaps, quiet polling, looking ahead, copying, theme.
   Markup is the interface; the attributes are described at the top of goldpan.css. */
(() => {
  "use strict";
  const find = (selector, root = document) => root.querySelector(selector);
  const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
  const withSelf = (root, selector) => [...(root.matches?.(selector) ? [root] : []), ...findAll(selector, root)];
  const on = (name, act) => document.addEventListener(name, act);
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };  // may be switched off
  const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* lasts for this page only */ } };
  const polls = (element) => /\bevery\b/.test(element.getAttribute("hx-trigger") || "");

  /* ---- keys ---- */
  const KEYS_OFF = "goldpan-keys-off";
  const WRITABLE = "textarea, select, [contenteditable=''], [contenteditable=true], " +
    "input:not([type=button], [type=submit], [type=reset], [type=radio], [type=checkbox])";  // ticking takes no letters
  const OVERLAY = "dialog[open], .modal.show, .dropdown-menu.show";
  const usable = (element) => element.getClientRects().length > 0 && !element.disabled && !element.closest("[inert]");
  const keysOf = (element) => element.dataset.key.split(" ").filter(Boolean);

  function pressable(key) {
    return findAll("[data-key]").find((element) => keysOf(element).includes(key) && usable(element));
  }

  function isBusy() {  // between the answer to one example and the next, a key would hit what nobody has read
    const isAsked = (element) => !/\b(every|load)\b/.test(element.getAttribute("hx-trigger") || "");
    return findAll(".htmx-request").some(isAsked) || find("form[data-sent]") !== null;
  }

  on("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (stored(KEYS_OFF) || find(OVERLAY) || event.target.closest?.(WRITABLE)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.shiftKey && /^\p{L}$/u.test(key)) return;
    if (key === "?") return showKeys();
    const element = pressable(key);
    if (!element) return;
    event.preventDefault();
    if (isBusy()) return;
    if (element.matches("input:not([type=checkbox], [type=radio]), textarea, select")) return element.focus();
    element.classList.add("pressed");
    setTimeout(() => element.classList.remove("pressed"), 150);
    element.click();
  });

  function keyName(key) {
    const names = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
    return names[key] || key.toUpperCase();
  }

  function labelOf(element) {
    const given = element.dataset.keyLabel || element.getAttribute("aria-label");
    if (given) return given;
    const copy = element.cloneNode(true);
    findAll("kbd", copy).forEach((kbd) => kbd.remove());
    return copy.textContent.trim().replace(/\s+/g, " ") || element.labels?.[0]?.textContent.trim() || element.title;
  }

  function keyRow(keys, label) {
    const term = document.createElement("dt");
    const meaning = document.createElement("dd");
    keys.forEach((key) => {
      const cap = document.createElement("kbd");
      cap.textContent = keyName(key);
      term.append(cap, " ");
    });
    meaning.textContent = label;
    return [term, meaning];
  }

  function showKeys() {
    const rows = findAll("[data-key]").filter(usable).map((element) => keyRow(keysOf(element), labelOf(element)));
    find("#keys-list").replaceChildren(...rows.flat(), ...keyRow(["?"], "Show this list"));
    find("#keys-on").checked = !stored(KEYS_OFF);
    find("#keys").showModal();
  }

  on("change", (event) => {
    if (event.target.id === "keys-on") store(KEYS_OFF, event.target.checked ? "" : "1");
  });

  /* ---- notes: what just happened, for a while, perhaps with an undo ---- */
  function expire(note) {
    let left = Number(note.dataset.noteSeconds);
    const timer = setInterval(() => {
      if (note.matches(":hover, :focus-within") || document.hidden) return;
      left -= 0.25;
      if (left > 0 && note.isConnected) return;
      clearInterval(timer);
      note.remove();
    }, 250);
  }

  function say(text, seconds = 8) {
    const note = find("#note-pattern").content.firstElementChild.cloneNode(true);
    find("span", note).textContent = text;
    note.dataset.noteSeconds = seconds;
    find("#notes").replaceChildren(note);
    expire(note);
  }

  /* ---- htmx ---- */
  on("htmx:configRequest", (event) => {
    if (event.detail.verb !== "get") event.detail.headers["X-CSRFToken"] = find("meta[name=csrf-token]").content;
  });

  on("htmx:beforeRequest", (event) => {
    if (!polls(event.detail.elt)) find("#messages").replaceChildren();  // what was said of the step before
    else if (document.hidden) event.preventDefault();  // the next turn asks again
  });

  /* The next example is fetched while this one is read; what is decided makes it old. */
  const AHEAD_MS = 300;
  const ahead = new Map();  // address → the part of the page that stands there

  function fetchAhead(link) {
    const url = link.getAttribute("hx-get");
    setTimeout(async () => {
      if (!link.isConnected || ahead.has(url)) return;
      const answer = await fetch(url, { headers: { "HX-Request": "true" } }).catch(() => null);
      if (answer?.ok && !answer.redirected && link.isConnected) ahead.set(url, await answer.text());
    }, AHEAD_MS);
  }

  on("htmx:beforeRequest", (event) => {
    const { elt, target, requestConfig } = event.detail;
    if (requestConfig.verb !== "get") return ahead.clear();
    const part = elt.matches("[data-prefetch]") && ahead.get(elt.getAttribute("hx-get"));
    if (!part || event.defaultPrevented) return;
    event.preventDefault();
    ahead.clear();
    history.pushState({ htmx: true }, "", elt.getAttribute("hx-get"));
    window.htmx.swap(target, part, { swapStyle: "outerHTML", swapDelay: 0, settleDelay: 0 });
  });

  on("htmx:beforeSwap", (event) => {  // logged out meanwhile: the log-in form does not belong into a fragment
    if (!event.detail.serverResponse?.includes("data-login-form")) return;
    event.detail.shouldSwap = false;
    location.reload();
  });

  on("htmx:afterRequest", (event) => {  // what is undone cannot be undone twice
    if (event.detail.successful) event.detail.elt.closest(".note")?.remove();
  });

  on("htmx:responseError", (event) => {
    if (polls(event.detail.elt)) return;
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const sentence = find("[data-error]", page)?.textContent.trim().replace(/\s+/g, " ");
    say(sentence || `The server answered ${event.detail.xhr.status}. Nothing was changed; reload the page.`, 15);
  });

  ["htmx:sendError", "htmx:timeout"].forEach((name) => on(name, (event) => {
    if (!polls(event.detail.elt)) say("The server did not answer, so this is not saved. Try again in a moment.", 15);
  }));

  /* Progress is replaced every two seconds; only a new state is read out, by a region that stays. */
  const spoken = new Map();
  function announce(element, isNews) {
    const text = element.dataset.say;
    if (isNews && spoken.get(element.id) !== text) find("#live").textContent = text;
    spoken.set(element.id, text);
  }

  function prepare(root, isNews) {
    withSelf(root, "[data-key]").forEach((element) => {
      element.setAttribute("aria-keyshortcuts", keysOf(element).join(" "));
      findAll("kbd", element).forEach((kbd) => kbd.setAttribute("aria-hidden", "true"));
    });
    withSelf(root, "[data-say]").forEach((element) => announce(element, isNews));
    withSelf(root, "[data-note-seconds]").forEach(expire);
    withSelf(root, "[data-prefetch]").forEach(fetchAhead);
  }

  on("htmx:load", (event) => {
    const root = event.detail.elt;
    if (root === document.body) return;  // DOMContentLoaded has seen to the whole page
    prepare(root, true);
    if (root.closest("#messages")) root.scrollIntoView({ block: "nearest" });
    const target = withSelf(root, "[data-autofocus]")[0];
    if (target && !find(OVERLAY)) {
      if (target.tabIndex < 0) target.tabIndex = -1;
      target.focus({ preventScroll: target.getBoundingClientRect().top >= 0 });
    }
    if (withSelf(root, "[data-finished]").some((element) => element.closest("[data-reload-on-finish]"))) location.reload();
  });

  /* ---- forms: sent once, and after a question where there is one ---- */
  on("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) return event.preventDefault();
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "true";
    setTimeout(() => delete form.dataset.sent, 4000);  // a download leaves the page standing
  });
  addEventListener("pageshow", () => findAll("form[data-sent]").forEach((form) => delete form.dataset.sent));

  /* ---- clicks ---- */
  async function copy(button) {
    const text = button.dataset.copy || find(button.dataset.copyFrom).textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // no clipboard without https
      return say(`Copying is not allowed here. Select it by hand: ${text}`, 20);
    }
    const label = button.textContent;
    button.textContent = "Copied";
    find("#live").textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  }

  function nextTheme() {
    const themes = ["system", "light", "dark"];
    const theme = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3];
    store("goldpan-theme", theme);
    dispatchEvent(new Event("goldpan:theme"));
    nameTheme();
    find("#live").textContent = `Theme: ${theme}`;
  }

  function nameTheme() {
    const button = find("[data-theme-toggle]");
    if (!button) return;
    button.title = `Theme: ${document.documentElement.dataset.theme}. Change it`;
    button.setAttribute("aria-label", button.title);
  }

  on("click", (event) => {
    const clicked = (selector) => event.target.closest?.(selector);
    if (clicked("[data-theme-toggle]")) nextTheme();
    if (clicked("[data-keys-help]")) showKeys();
    if (clicked("[data-note-close]")) clicked(".note").remove();
    if (clicked("[data-copy], [data-copy-from]")) copy(clicked("[data-copy], [data-copy-from]"));
  });

  on("DOMContentLoaded", () => {
    prepare(document.body, false);
    nameTheme();
    find(".project-nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  });
})();
