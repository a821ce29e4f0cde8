// Uses the fresh Next.js app as a person does; prints what it saw.
import { launch, watch } from "./launch.mjs";

const { FRONT, SCREENSHOT } = process.env;
const seen = { errors: [], hosts: new Set() };
const browser = await launch();
const texts = (page, selector) =>
  page.locator(selector).evaluateAll((items) => items.map((item) => item.innerText.replace("Delete", "").trim()));
try {
  const page = await browser.newPage();
  watch(page, seen);
  page.setDefaultTimeout(30_000);
  await page.goto(FRONT);
  await page.waitForLoadState("networkidle");
  await page.fill("[name=email]", "alice@example.com");
  await page.fill("[name=password]", "a long password");
  await page.click("#sign-up button");
  for (const title of ["Call Zoë", "Buy milk"]) {
    await page.fill("[name=title]", title);
    await page.click("#create button");
    await page.waitForSelector(`li:has-text("${title}")`);
  }
  await page.click("li:has-text('Buy milk') input");
  await page.waitForSelector("li:has-text('Buy milk') input:checked");
  seen.browser = await texts(page, "#tasks li");

  await page.goto(`${FRONT}/tasks`);
  await page.waitForSelector("#pending li");
  seen.server = await texts(page, "#pending li");
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT });

  await page.context().clearCookies();
  await page.goto(`${FRONT}/tasks`);
  await page.waitForURL(`${FRONT}/`);
  seen["signed out"] = new URL(page.url()).pathname;
} finally {
  await browser.close();
}
console.log(JSON.stringify({ ...seen, hosts: [...seen.hosts] }));
