// Opens one page in Chromium and prints what it found as JSON; the argument says how.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { kill } from "node:process";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const given = JSON.parse(process.argv[2]);

const browser = await chromium.launch({ executablePath: given.browser, args: ["--no-sandbox"] });
const context = await browser.newContext({
  viewport: { width: given.width, height: given.height }, colorScheme: given.scheme, javaScriptEnabled: given.script,
});
const page = await context.newPage();
const found = { console: [], asked: [] };
page.on("console", (one) => found.console.push(one.text()));
page.on("pageerror", (error) => found.console.push(String(error)));
page.on("request", (one) => { if (!found.asked.includes(one.url())) found.asked.push(one.url()); });
await page.goto(given.url);
await page.screenshot({ path: `${given.pictures}/page.png`, fullPage: true });
found.text = await page.innerText("body");

if (given.kill) {
  const shown = () => page.innerText(".about time");
  const before = await shown();
  await page.focus("button");
  await page.waitForFunction((old) => document.querySelector(".about time").innerText !== old, before, { timeout: 30000 });
  found.moved = true;
  found.focused = await page.evaluate("document.activeElement.innerText");
  kill(given.kill, "SIGSTOP");
  await page.waitForFunction(() => document.body.classList.contains("stale"), null, { timeout: 60000 });
  found.gone = await page.innerText("#live");
  kill(given.kill, "SIGCONT");
} else if (given.script) {
  // By evaluation, which the page's policy does not concern: it forbids every script but its own.
  const report = await page.evaluate(`${readFileSync(require.resolve("axe-core/axe.min.js"), "utf8")}; axe.run()`);
  found.violations = report.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(" ")}`);
  found.passes = report.passes.length;
  found.width = await page.evaluate("document.documentElement.scrollWidth");
}
await browser.close();
console.log(JSON.stringify(found));
