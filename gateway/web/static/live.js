// Replaces the content when the gateway says that something changed. Without this script the page reloads itself.
"use strict";
const content = document.getElementById("content");
const live = document.getElementById("live");

async function refresh() {
  const answer = await fetch("/fragment?lang=" + content.dataset.language, { cache: "no-store" });
  if (!answer.ok) { throw new Error("the gateway answered " + answer.status); }
  const open = new Set(Array.from(content.querySelectorAll("details[open]"), (d) => d.dataset.key));
  content.innerHTML = await answer.text();
  for (const d of content.querySelectorAll("details")) { d.open = open.has(d.dataset.key); }
}

function say(isLive) {
  live.textContent = isLive ? live.dataset.live : live.dataset.lost;
  live.classList.toggle("lost", !isLive);
}

const events = new EventSource("/events");
events.addEventListener("changed", () => refresh().then(() => say(true), () => say(false)));
events.addEventListener("open", () => say(true));
events.addEventListener("error", () => say(false));
setInterval(() => refresh().then(() => say(true), () => say(false)), 60000);
