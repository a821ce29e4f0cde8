// Tries the API out on its documentation page; prints what it saw.
import { launch, watch } from "./launch.mjs";

const { API, TOKEN, USER, SCREENSHOT } = process.env;
const seen = { errors: [], complaints: [], hosts: new Set() };
const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 1400 } });
  watch(page, seen);
  page.on("console", (message) => message.type() === "error" && seen.complaints.push(message.text()));
  await page.goto(API);
  seen.led = new URL(page.url()).pathname;
  await page.waitForSelector(".opblock");
  seen.operations = await page.locator(".opblock").count();

  await page.click("button.authorize");
  await page.fill(".auth-container input", TOKEN);
  await page.click(".auth-container button[type=submit]");
  await page.click(".auth-container .btn-done");

  const list = page.locator(".opblock-get").filter({ hasText: "/tasks" }).first();
  await list.locator(".opblock-summary-control").click();
  await list.locator("button.try-out__btn").click();
  await list.locator("input[placeholder=user_id]").fill(USER);
  await list.locator("button.execute").click();
  seen.status = await list.locator(".live-responses-table .response-col_status").last().innerText();
  seen.body = JSON.parse(await list.locator(".live-responses-table .response-col_description pre").first().innerText());
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT, fullPage: true });
} finally {
  await browser.close();
}
console.log(JSON.stringify({ ...seen, hosts: [...seen.hosts] }));
