// SPDX-License-Identifier: Apache-2.0
// Looks at an explorer in Chromium: node pages.mjs CHROMIUM URL DIRECTORY PATHS-AS-JSON [WRITTEN-AS-JSON]
// Prints each fault, and ends with 1 if there is one. Screenshots of all pages are in DIRECTORY.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [program, base, directory, pathsText, writtenText = "{}"] = process.argv.slice(2);
const paths = JSON.parse(pathsText);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const faults = [];
const fault = (...words) => {
  faults.push(words.join(" "));
  console.log("FAULT", ...words);
};

const browser = await chromium.launch({
  executablePath: program,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const WIDE = { width: 1366, height: 900 };
const NARROW = { width: 390, height: 844 };
const KINDS = {
  wide: { viewport: WIDE, colorScheme: "light" },
  dark: { viewport: WIDE, colorScheme: "dark" },
  narrow: { viewport: NARROW, colorScheme: "light", isMobile: true, hasTouch: true },
  "narrow-dark": { viewport: NARROW, colorScheme: "dark", isMobile: true, hasTouch: true },
  "no-script": { viewport: WIDE, colorScheme: "light", javaScriptEnabled: false },
};

async function opened(kind, options = {}) {
  const context = await browser.newContext({ ...KINDS[kind], timezoneId: "Asia/Tokyo", locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => fault(kind, page.url(), error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("status of 404")) fault(kind, page.url(), message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("data:")) fault(kind, "requested", request.url());
  });
  return page;
}

// The texts of cells whose content is wider than the cell.
function overflowing() {
  const range = document.createRange();
  const shown = [...document.querySelectorAll("td, dd")].filter((one) => one.getClientRects().length);
  const wide = shown.filter((one) => {
    range.selectNodeContents(one);
    return range.getBoundingClientRect().right > one.getBoundingClientRect().right + 1;
  });
  return wide.slice(0, 3).map((one) => one.innerText.slice(0, 60));
}

for (const kind of Object.keys(KINDS)) {
  const page = await opened(kind);
  for (const [name, path] of Object.entries(paths)) {
    await page.goto(base + path, { waitUntil: "load" });
    if ((await page.title()).includes("owned")) fault(kind, name, "ran a stranger's script");
    const size = KINDS[kind].viewport;
    const width = (await page.locator("main").boundingBox()).width;
    if (width > size.width) fault(kind, name, `is ${width} pixels wide`);
    await page.screenshot({ path: `${directory}/${name}-${kind}.png`, fullPage: true });
    if (kind === "no-script") continue;
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) fault(kind, name, `scrolls sideways by ${over} pixels`);
    for (const text of await page.evaluate(overflowing)) fault(kind, name, `runs out of its cell: ${text}`);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    for (const one of violations) fault(kind, name, one.id, one.help, one.nodes.slice(0, 2).map((node) => node.html.slice(0, 160)).join(" | "));
  }
  await page.context().close();
}

// Keyboard: the skip link comes first, the slash opens the search, Escape leaves it.
{
  const page = await opened("wide");
  await page.goto(base + paths.providers);
  await page.keyboard.press("Tab");
  if ((await page.evaluate(() => document.activeElement.textContent)) !== "Skip to content") fault("the skip link is not first");
  await page.keyboard.press("Enter");
  await page.keyboard.press("/");
  if ((await page.evaluate(() => document.activeElement.id)) !== "search") fault("the slash does not open the search");
  await page.keyboard.type("good/");
  if ((await page.inputValue("#search")) !== "good/") fault("the search does not take a slash");
  await page.keyboard.press("Escape");
  await page.locator("#search").fill("good-provider");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/provider\/0x/);
  await page.context().close();
}

// The theme is kept, and wins over the system's.
{
  const page = await opened("wide");
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.goto(base);
  const light = await background();
  await page.click("#theme");
  if ((await background()) !== light) fault("the light theme differs from the system's light");
  await page.click("#theme");
  const dark = await background();
  if (dark === light) fault("the theme does not change");
  await page.reload();
  if ((await background()) !== dark) fault("the theme is not kept");
  await page.context().close();
}

// Times are local, exact amounts are in titles, and a copy is whole.
{
  const page = await opened("wide", { permissions: ["clipboard-read", "clipboard-write"] });
  await page.goto(base + paths.provider);
  const time = page.locator("tbody time").first();
  const [iso, shown] = [await time.getAttribute("datetime"), await time.textContent()];
  const tokyo = new Date(new Date(iso).getTime() + 9 * 3600_000).toISOString().slice(0, 16).replace("T", " ");
  if (shown !== tokyo) fault("a time is not local:", shown, "for", iso);
  if (!/coins = \d+ wei/.test(await page.locator(".amount").first().getAttribute("title"))) fault("no exact amount");
  await page.locator("h1 .copy").click();
  if ((await page.evaluate(() => navigator.clipboard.readText())) !== paths.provider.split("/")[2]) fault("copied something else");
  if ((await page.locator(".chart canvas").count()) !== 2) fault("the plots are not drawn");
  await page.context().close();
}

// A new block renews the page, unless updates are paused.
{
  const page = await opened("wide");
  await page.clock.install();
  await page.goto(base + paths.settlements);
  let head = "1";
  let renewed = 0;
  await page.route("**/live.json", (route) => route.fulfill({ json: { head } }));
  await page.route(`**${paths.settlements}`, (route) => { renewed += 1; return route.continue(); });
  const tick = async () => {
    const looked = page.waitForResponse("**/live.json").catch(() => {});
    await page.clock.runFor(6_000);
    await Promise.race([looked, new Promise((resolve) => setTimeout(resolve, 3_000))]);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  };
  await tick();
  if (renewed !== 1) fault(`renewed ${renewed} times for a new block`);
  await tick();
  if (renewed !== 1) fault("renewed without a new block");
  await page.click("#live");
  head = "2";
  await tick();
  if (renewed !== 1) fault("renewed though updates are paused");
  await page.context().close();
}

for (const [file, { path, kind, height }] of Object.entries(JSON.parse(writtenText))) {
  const page = await opened(kind);
  await page.setViewportSize({ width: KINDS[kind].viewport.width, height });
  await page.goto(base + path, { waitUntil: "load" });
  await page.waitForTimeout(200);
  await page.screenshot({ path: file });
  await page.context().close();
}

await browser.close();
console.log(`${Object.keys(paths).length} pages in ${Object.keys(KINDS).length} ways: ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
