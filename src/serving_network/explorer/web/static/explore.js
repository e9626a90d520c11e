// SPDX-License-Identifier: Apache-2.0
// What is better with JavaScript: local times, copying, the theme, the search shortcut, and live updates.
"use strict";

const EVERY = 5000;
const ICON = '<svg viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.5"><rect x="5.5" y="5.5" width="8" height="8" rx="1.5"/><path d="M10.5 5.5v-2a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h2"/></svg>';

const said = document.getElementById("said");
function say(words) {
  said.textContent = "";
  said.textContent = words;
}

// Times

const two = (number) => String(number).padStart(2, "0");

function localTimes(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    one.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
    one.title = `${at.toLocaleString(undefined, { timeZoneName: "short" })} = ${one.dateTime}`;
  }
}

// Copying

function copies(root) {
  if (!navigator.clipboard) return;
  for (const one of root.querySelectorAll("[data-copy]")) {
    if (one.querySelector(".copy")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.innerHTML = ICON;
    button.title = "Copy";
    button.setAttribute("aria-label", `Copy ${one.dataset.copy}`);
    // A table has too many of them for the Tab key; the page of each address has one that it reaches.
    if (one.closest("td, tbody th")) button.tabIndex = -1;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(one.dataset.copy);
        say("Copied");
        button.title = "Copied";
      } catch {
        say("The browser refused to copy");
      }
    });
    one.append(button);
  }
}

// Theme

const THEMES = ["system", "light", "dark"];
const themeButton = document.getElementById("theme");

function currentTheme() {
  return document.documentElement.dataset.theme || "system";
}

function labelTheme() {
  const label = `Theme: ${currentTheme()}. Change the theme`;
  themeButton.setAttribute("aria-label", label);
  themeButton.title = label;
}

themeButton.hidden = false;
labelTheme();
themeButton.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    if (next === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", next);
  } catch { /* storage is blocked: the choice lasts for this page */ }
  labelTheme();
  document.dispatchEvent(new Event("theme"));
});

// Search

const search = document.getElementById("search");
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && event.target === search) {
    search.blur();
  }
});

// Live updates

const live = document.getElementById("live");
const head = document.getElementById("head");
let paused = false;
let looking = false;
let seen = head.dataset.head;

live.hidden = false;
live.addEventListener("click", () => {
  paused = !paused;
  live.setAttribute("aria-pressed", String(!paused));
  live.textContent = paused ? "Updates paused" : "Live";
  if (!paused) look();
});

function inUse(part) {
  const selection = document.getSelection();
  return part.contains(document.activeElement) || (selection && !selection.isCollapsed && part.contains(selection.anchorNode)) || part.querySelector("details[open]") || part.matches(":hover");
}

async function look() {
  if (paused || looking || document.hidden) return;
  looking = true;
  try {
    const answer = await fetch("/live.json", { cache: "no-store" });
    const state = await answer.json();
    head.classList.remove("lost");
    if (state.head === seen) return;
    await renew();
    seen = state.head;
  } catch {
    head.classList.add("lost");
  } finally {
    looking = false;
  }
}

async function renew() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh || inUse(part)) continue;
    const now = document.importNode(fresh, true);
    part.replaceWith(now);
    prepare(now);
  }
}

function prepare(root) {
  localTimes(root);
  copies(root);
  document.dispatchEvent(new CustomEvent("renewed", { detail: root }));
}

localTimes(document);
copies(document);
setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
