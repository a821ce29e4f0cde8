// Uses the page as a person does, then asks through it what only a browser can tell; prints what it saw.
import { launch, watch } from "./launch.mjs";

const { FRONT, API, EMAIL, PASSWORD } = process.env;
const seen = { errors: [], hosts: new Set(), tokens: 0 };
const browser = await launch();
try {
  const page = await browser.newPage();
  watch(page, seen);
  page.on("response", (answer) => (seen.tokens += answer.url() === `${FRONT}/api/auth/token` && answer.ok()));
  await page.goto(`${FRONT}/?api=${encodeURIComponent(API)}`);
  await page.waitForSelector("#tasks[data-count='signed out']", { state: "attached" });

  await page.fill("[name=email]", EMAIL);
  await page.fill("[name=password]", PASSWORD);
  await page.click("#sign-in button");
  await page.waitForSelector("#tasks[data-count='0']", { state: "attached" });

  for (const title of ["Buy milk", "Call Zoë"]) {
    await page.fill("[name=title]", title);
    await page.click("#create button");
    await page.waitForSelector(`li:has-text("${title}")`);
  }
  await page.check("li:has-text('Buy milk') input");
  await page.waitForSelector("li[data-completed=true]:has-text('Buy milk')");
  await page.click("li:has-text('Zoë') button");
  await page.waitForSelector("#tasks[data-count='1']");
  seen.left = await page.locator("li").evaluateAll((items) => items.map((item) => item.childNodes[1].textContent));

  await page.fill("[name=title]", "x".repeat(201));
  await page.click("#create button");
  await page.waitForSelector("#problem:has-text('title')");

  const call = (...values) => page.evaluate((values) => window.call(...values), values);
  seen.created = await call("POST", "", { title: "Once" }, { "Idempotency-Key": "k", "X-Request-ID": "mine" });
  seen.replayed = await call("POST", "", { title: "Once" }, { "Idempotency-Key": "k" });
  const path = `/${seen.created.body.id}`;
  seen.read = await call("GET", path);
  seen.changed = await call("PUT", path, { title: "Twice" }, { "If-Match": seen.read.headers.etag });
  seen.stale = await call("PUT", path, { title: "Thrice" }, { "If-Match": seen.read.headers.etag });
  seen.fresh = await call("GET", path, undefined, { "If-None-Match": seen.changed.headers.etag });
  seen.page = await call("GET", "?limit=1");
  seen.deleted = await call("DELETE", path);
  seen.gone = await call("GET", path);

  await page.click("#sign-out");
  await page.waitForSelector("#tasks[data-count='signed out']", { state: "attached" });

  const foreign = (url) =>
    fetch(url, { headers: { Authorization: "Bearer nonsense" } }).then(
      async (answer) => ({
        status: answer.status,
        headers: Object.fromEntries(answer.headers),
        body: await answer.json(),
      }),
      (error) => error.name,
    );
  seen.unsigned = await page.evaluate(foreign, `${API}/api/somebody/tasks`);
  const stranger = await browser.newPage();
  await stranger.goto(FRONT.replace("localhost", "127.0.0.1") + "/mails"); // an origin that is not allowed
  seen.stranger = await stranger.evaluate(foreign, `${API}/api/somebody/tasks`);
} finally {
  await browser.close();
}
console.log(JSON.stringify({ ...seen, hosts: [...seen.hosts] }));
