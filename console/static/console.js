// The little that pages do by themselves. Everything works without it.
"use strict";

(() => {
  const root = document.documentElement;

  // Light or dark: as the system has it, unless the reader chose.
  const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const show = (theme) => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme; };
  show(kept());

  // Times stand in UTC in the page; each reader sees their own zone.
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const localise = (within) => {
    for (const time of within.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) continue;
      time.textContent = ("clock" in time.dataset ? clock : whole).format(at);
      time.title = exact.format(at);
      time.dataset.local = "";
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    localise(document);
    const zone = document.querySelector("[data-zone]");
    if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "your zone";
    const button = document.querySelector("[data-theme-switch]");
    if (button) {
      button.hidden = false;
      const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
      const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
      name();
      button.addEventListener("click", () => {
        const next = dark() ? "light" : "dark";
        show(next);
        try { localStorage.setItem("theme", next); } catch { /* a browser that keeps nothing shows it this once */ }
        name();
      });
    }
    for (const copy of document.querySelectorAll("[data-copy]")) {
      if (!navigator.clipboard) continue;
      copy.hidden = false;
      copy.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
        copy.textContent = "Copied";
      });
    }
    const refused = document.getElementById("refused");
    if (refused) { refused.tabIndex = -1; refused.focus(); }
  });
  document.addEventListener("htmx:afterSwap", (event) => localise(event.target));
  document.addEventListener("htmx:oobAfterSwap", (event) => localise(event.target));
})();
