// Fetches the changing part again when the gateway says so, and every few seconds: neighbours come and go silently.
// Never under the fingers of somebody who types, unless the attempt itself has moved on.
"use strict";
const content = document.getElementById("content");
let shown = "";

function key(root) {
  const attempt = root.querySelector("#attempt");
  return attempt ? attempt.dataset.key : "";
}

function isBusy() {
  const at = document.activeElement;
  const writes = at && content.contains(at) && (at.tagName === "INPUT" || at.tagName === "SELECT");
  return writes || content.querySelector("details[open]") !== null || content.querySelector(".naming") !== null;
}

async function refresh() {
  const answer = await fetch("/bluetooth/fragment?lang=" + content.dataset.language, { cache: "no-store" });
  if (!answer.ok) { return; }
  const text = await answer.text();
  const fresh = document.createElement("div");
  fresh.innerHTML = text;
  const hasMoved = key(fresh) !== key(content);
  if (!hasMoved && isBusy()) { return; }
  const plain = text.replace(/name="token" value="[^"]*"/g, "");
  if (!hasMoved && plain === shown) { return; }
  shown = plain;
  content.innerHTML = text;
  const first = hasMoved ? content.querySelector("[autofocus]") : null;
  if (first) { first.focus(); }
}

const events = new EventSource("/events");
events.addEventListener("changed", () => refresh().catch(() => undefined));
setInterval(() => refresh().catch(() => undefined), 3000);
