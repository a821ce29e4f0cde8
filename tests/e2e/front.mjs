// A front end as people write them: pages and Better Auth on one origin, the API on another.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler, fromNodeHeaders } from "better-auth/node";
import { jwt } from "better-auth/plugins";
import { SignJWT } from "jose";
import pg from "pg";

const { BETTER_AUTH_URL, JWT_SECRET } = process.env;
const mails = [];

const auth = betterAuth({
  database: new pg.Pool(), // as PGHOST, PGDATABASE and PGUSER say
  emailAndPassword: { enabled: true },
  emailVerification: { sendVerificationEmail: async ({ token }) => mails.push(token) },
  plugins: [jwt()],
});

// The other way: a token of our own, signed with a secret that the API knows.
async function sharedToken(request) {
  const session = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
  if (!session) return [401, {}];
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(session.user.id)
    .setIssuer(BETTER_AUTH_URL)
    .setAudience(BETTER_AUTH_URL)
    .setIssuedAt()
    .setExpirationTime("15m")
    .sign(new TextEncoder().encode(JWT_SECRET));
  return [200, { token }];
}

const page = await readFile(new URL("page.html", import.meta.url));
const betterAuthHandler = toNodeHandler(auth);
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();

createServer(async (request, response) => {
  const { pathname } = new URL(request.url, BETTER_AUTH_URL);
  const json = (status, body) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  if (pathname.startsWith("/api/auth/")) return betterAuthHandler(request, response);
  if (pathname === "/api/token") return json(...(await sharedToken(request)));
  if (pathname === "/mails") return json(200, mails);
  if (pathname === "/") return response.writeHead(200, { "content-type": "text/html" }).end(page);
  return json(404, {});
}).listen(new URL(BETTER_AUTH_URL).port, "127.0.0.1");
