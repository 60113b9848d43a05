// Keeps a page up to date: when the server says that something has changed, what is shown is asked for anew.
"use strict";

(() => {
  const AT_MOST_EVERY = 2000, POLLED_EVERY = 15000;

  document.addEventListener("DOMContentLoaded", () => {
    const sign = document.querySelector("[data-live]");
    if (!sign || !window.EventSource || !window.htmx) return;
    const told = sign.querySelector("[data-live-state]");
    let last = 0, waiting = null, stale = false;

    const ask = () => {
      waiting = null;
      if (document.hidden) { stale = true; return; }
      last = Date.now();
      stale = false;
      htmx.trigger(document.body, "changed");
    };
    const changed = () => {
      if (!waiting) waiting = setTimeout(ask, Math.max(0, last + AT_MOST_EVERY - Date.now()));
    };
    const say = (live) => {
      told.textContent = live ? "Live" : "Looks every 15 seconds";
      sign.classList.toggle("off", !live);
    };

    const listen = () => {
      const source = new EventSource(sign.dataset.live);
      source.addEventListener("open", () => { say(true); changed(); });
      source.addEventListener("changed", changed);
      source.addEventListener("ended", () => { source.close(); location.reload(); });
      source.addEventListener("error", () => {
        say(false);
        if (source.readyState === EventSource.CLOSED) setTimeout(listen, 4 * POLLED_EVERY);
      });
    };
    sign.hidden = false;
    document.addEventListener("visibilitychange", () => { if (!document.hidden && stale) ask(); });
    setInterval(() => { if (sign.classList.contains("off")) changed(); }, POLLED_EVERY);
    listen();
  });
})();
