// SPDX-License-Identifier: Apache-2.0
// Runs before the page is shown, so that a chosen theme does not flash.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* storage is blocked: the system's theme is used */ }
document.documentElement.classList.add("scripted");
