"use strict";
// The page comes whole from the server; this only fetches it again and puts what changed in its place.
(() => {
  const every = 5000;
  const live = document.getElementById("live");
  let paused = false, busy = false, failures = 0;

  const button = document.createElement("button");
  button.type = "button";
  const said = document.createElement("span");
  live.append(button, said);
  const label = () => { button.textContent = paused ? "Resume updates" : "Pause updates"; };
  button.addEventListener("click", () => { paused = !paused; label(); look(); });
  label();

  // Said only when it changes, so that a screen reader is not spoken to all the time.
  const say = (text) => { if (said.textContent !== text) said.textContent = text; };

  function replace(there, fresh) {
    if (!there || !fresh || there.isEqualNode(fresh)) return;
    const node = document.importNode(fresh, true);
    const focused = there === document.activeElement;
    there.replaceWith(node);
    if (focused) node.focus({ preventScroll: true });
  }

  function take(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    if (!fresh.getElementById("verdict")) throw new Error("no status page");
    document.title = fresh.title;
    for (const one of fresh.querySelectorAll("header > :not(#live)")) {
      replace(document.querySelector(`header > :nth-child(${[...one.parentNode.children].indexOf(one) + 1})`), one);
    }
    const main = document.querySelector("main");
    const wanted = [...fresh.querySelectorAll("main > section")];
    for (const there of [...main.children]) if (!wanted.some((one) => one.id === there.id)) there.remove();
    wanted.forEach((one, index) => {
      const there = document.getElementById(one.id);
      if (there) replace(there, one);
      else main.insertBefore(document.importNode(one, true), main.children[index] || null);
    });
  }

  async function look() {
    if (paused || busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      take(await answer.text());
      failures = 0;
      document.body.classList.remove("stale");
      say("");
    } catch {
      failures += 1;
      document.body.classList.add("stale");
      say("The agent does not answer. What you see is old; this goes on trying.");
    }
    busy = false;
  }

  setInterval(look, every);
  document.addEventListener("visibilitychange", look);
})();
