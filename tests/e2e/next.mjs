// Uses the fresh Next.js app as a person does; prints what it saw.
import { launch, watch } from "./launch.mjs";

const { FRONT, API, SCREENSHOT } = process.env;
const seen = { errors: [], hosts: new Set() };
const browser = await launch();
const texts = (page, selector) =>
  page.locator(selector).evaluateAll((items) => items.map((item) => item.innerText.replace("Delete", "").trim()));
try {
  const page = await browser.newPage();
  watch(page, seen);
  page.setDefaultTimeout(300_000); // in development each page is compiled when it is first asked for
  await page.goto(FRONT);
  const sign = async (way) => {
    await page.fill("[name=email]", "alice@example.com");
    await page.fill("[name=password]", "a long password");
    await page.click(`#sign-in button[value=${way}]`);
    await page.waitForSelector("#create");
  };
  await page.waitForSelector("#sign-in");
  await sign("up");
  await page.fill("[name=title]", "Call Zoë");
  await page.selectOption("[name=priority]", "high");
  await page.fill("[name=due_date]", "2026-12-24T18:30");
  await page.fill("[name=category]", "Family");
  await page.fill("[name=tags]", "phone, home");
  await page.click("#create button");
  await page.waitForSelector('li:has-text("Call Zoë")');
  seen.shown = await page.innerText("#tasks li i");
  await page.reload();
  await page.waitForSelector('li:has-text("Call Zoë")');
  await page.fill("[name=title]", "Buy milk");
  await page.click("#create button");
  await page.waitForSelector('li:has-text("Buy milk")');
  await page.click("li:has-text('Buy milk') input");
  await page.waitForSelector("li:has-text('Buy milk') input:checked");
  seen.browser = await texts(page, "#tasks li b");

  // While the API answers 503, and then nothing at all, what is there stays.
  const problem = `{"status": 503, "detail": "The database is not available at the moment; try again"}`;
  const away = [
    (route) => route.fulfill({ status: 503, headers: { "Access-Control-Allow-Origin": FRONT }, body: problem }),
    (route) => route.abort(),
  ];
  seen.away = [];
  for (const answer of away) {
    await page.route(`${API}/**`, answer);
    await page.click("li:has-text('Zoë') input");
    await page.waitForFunction(() => document.querySelector("#problem")?.innerText);
    seen.away.push([await page.innerText("#problem"), ...(await texts(page, "#tasks li b"))]);
    await page.reload();
    await page.waitForSelector("#problem");
    await page.unroute(`${API}/**`);
    await page.reload();
    await page.waitForSelector('li:has-text("Call Zoë")');
  }
  await page.click("#sign-out");
  await page.waitForSelector("#sign-in");
  await page.reload();
  await page.waitForSelector("#sign-in");
  await sign("in");
  await page.waitForSelector('li:has-text("Call Zoë")');

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
