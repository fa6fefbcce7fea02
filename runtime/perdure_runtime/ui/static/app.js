// What a page does beyond what its HTML does by itself: times in the reader's zone, copying, keys,
// and updates without flicker. Every page works without it.
(function () {
  "use strict";

  const root = document.body.dataset.root;
  const main = document.getElementById("main");
  const live = document.getElementById("live");

  // --- times in the reader's zone; the exact UTC stays in the title

  const sameDay = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const otherDay = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

  function showTimes(where) {
    const today = new Date().toDateString();
    for (const element of where.querySelectorAll("time[datetime]")) {
      const when = new Date(element.getAttribute("datetime"));
      if (Number.isNaN(when.getTime())) continue;
      const format = when.toDateString() === today ? sameDay : otherDay;
      element.textContent = format.format(when);
    }
    const ticks = Array.from(where.querySelectorAll("text[data-at]"));
    if (ticks.length > 1) {
      const span = ticks[ticks.length - 1].dataset.at - ticks[0].dataset.at;
      const options = span < 86400000 ? { timeStyle: "medium" } : { dateStyle: "short", timeStyle: "short" };
      const format = new Intl.DateTimeFormat(undefined, options);
      const fine = new Intl.DateTimeFormat(undefined, {
        hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 2,
      });
      for (const tick of ticks) {
        tick.textContent = (span < 10000 ? fine : format).format(new Date(Number(tick.dataset.at)));
      }
      const zone = where.querySelector("#zone");
      if (zone) zone.textContent = "times in your zone";
    }
    for (const element of where.querySelectorAll(".copy[hidden]")) element.hidden = false;
    const all = where.querySelector("#all");
    if (all) all.hidden = false;
  }

  // --- theme

  const theme = document.getElementById("theme");
  function dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function nameTheme() {
    theme.textContent = dark() ? "Light" : "Dark";
  }
  theme.hidden = false;
  nameTheme();
  theme.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("perdure-theme", next);
    } catch (error) {
      // It holds for this page only.
    }
    nameTheme();
  });

  // --- copying

  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".copy");
    if (!button) return;
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("copied");
    } catch (error) {
      say("copying is not allowed here");
    }
  });

  let silence;
  function say(text, trouble) {
    clearTimeout(silence);
    live.textContent = text;
    live.classList.toggle("trouble", Boolean(trouble));
    if (!trouble) silence = setTimeout(() => { live.textContent = source ? "live" : ""; }, 1500);
  }

  // --- choosing rows

  function countChosen() {
    const place = document.getElementById("chosen");
    if (!place) return;
    const count = document.querySelectorAll("#bulk tbody input:checked").length;
    place.textContent = count ? count + " chosen" : "";
  }
  document.addEventListener("change", (event) => {
    if (event.target.id === "all") {
      for (const box of document.querySelectorAll("#bulk tbody input[type=checkbox]")) {
        box.checked = event.target.checked;
      }
    }
    countChosen();
  });

  // --- keys

  const keys = document.getElementById("keys");
  const keysButton = document.getElementById("keys-button");
  keysButton.hidden = false;
  keysButton.addEventListener("click", () => keys.showModal());

  let before = "";
  function rows() {
    return Array.from(document.querySelectorAll("table.rows tbody tr"));
  }
  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.classList.contains("at"));
    const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    for (const row of all) row.classList.remove("at");
    next.classList.add("at");
    next.querySelector("a").focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const goto = document.getElementById("goto");
    if (event.key === "/" && goto) {
      event.preventDefault();
      goto.focus();
    } else if (event.key === "?") {
      keys.showModal();
    } else if (event.key === "j") {
      move(1);
    } else if (event.key === "k") {
      move(-1);
    } else if (event.key === "x") {
      const box = document.querySelector("table.rows tr.at input[type=checkbox]");
      if (box) {
        box.checked = !box.checked;
        countChosen();
      }
    } else if (before === "g" && goto) {
      const target = { o: "/", i: "/instances", a: "/audit" }[event.key];
      if (target) location.assign(root + target);
    }
    before = event.key;
  });

  // --- live: told that something has changed, the page is fetched anew and what differs is put in

  let source = null;
  let fetching = false;
  let again = false;

  function reading() {
    // What somebody marks or fills in must not move under their hands.
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && main.contains(selection.anchorNode)) return true;
    return main.contains(document.activeElement) &&
      document.activeElement.matches("input:not([type=checkbox]), textarea, select");
  }

  const morphing = {
    morphStyle: "outerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeAttributeUpdated(name, node) {
        // What was opened stays open; what was chosen stays chosen.
        if (name === "open" && node.matches("details")) return false;
        if (name === "checked" && node.matches("[data-keep]")) return false;
        if (name === "class" && node.matches("tr.at")) return false;
        return true;
      },
      beforeNodeMorphed(old, fresh) {
        if (!(old instanceof Element) || !(fresh instanceof Element)) return true;
        if (old.matches("form[data-keep]")) return false;
        if (old.matches("time") && old.getAttribute("datetime") === fresh.getAttribute("datetime")) {
          return false;
        }
        if (old.matches(".copy, #all, #chosen") && !fresh.dataset.copy) return false;
        if (old.matches("input[data-keep]")) fresh.checked = old.checked;
        return true;
      },
    },
  };

  async function refresh() {
    if (fetching || reading() || document.hidden) {
      again = true;
      return;
    }
    fetching = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected || answer.status === 401) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      if (!answer.ok || !fresh) {
        say("not up to date", true);
        return;
      }
      showTimes(fresh);
      Idiomorph.morph(main, fresh, morphing);
      if (fresh.dataset.live) main.dataset.live = fresh.dataset.live;
      else stop();
      countChosen();
      say("updated");
    } catch (error) {
      say("not up to date", true);
    } finally {
      fetching = false;
    }
  }

  function stop() {
    if (source) source.close();
    source = null;
    say("");
  }

  function listen() {
    if (!main.dataset.live || !window.EventSource) return;
    source = new EventSource(root + "/events?" + main.dataset.live);
    source.addEventListener("open", () => say("live"));
    source.addEventListener("change", refresh);
    source.addEventListener("trouble", () => say("the store does not answer", true));
    source.addEventListener("error", () => {
      say(source && source.readyState === EventSource.CLOSED ? "" : "not up to date", true);
    });
  }

  setInterval(() => { if (again) refresh(); }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });
  addEventListener("pagehide", () => { if (source) source.close(); });

  // A workflow that is chosen shows its form at once.
  for (const select of document.querySelectorAll(".choose select")) {
    select.addEventListener("change", () => select.form.submit());
  }

  showTimes(document);
  countChosen();
  listen();
})();
