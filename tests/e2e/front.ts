// What Next.js does with the files in next/, without Next.js: one origin with Better Auth and a page.
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { auth } from "@/lib/auth";
import * as all from "@/app/api/auth/[...all]/route";
import * as shared from "@/app/api/token/route";

const { BETTER_AUTH_URL = "", PAGE = "" } = process.env;
const mails: string[] = [];
const mailing = betterAuth({
  ...auth.options,
  emailVerification: { sendVerificationEmail: async ({ token }) => void mails.push(token) },
});

const html = { "content-type": "text/html" };
const page = await readFile("page.html");
const script = await readFile(PAGE);
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();

async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === "/api/auth/send-verification-email") return mailing.handler(request);
  if (pathname.startsWith("/api/auth/")) return request.method === "GET" ? all.GET(request) : all.POST(request);
  if (pathname === "/api/token") return shared.GET(request);
  if (pathname === "/mails") return Response.json(mails);
  if (pathname === "/page.js") return new Response(script, { headers: { "content-type": "text/javascript" } });
  if (pathname === "/") return new Response(page, { headers: html });
  return new Response(null, { status: 404 });
}

async function received(request: IncomingMessage): Promise<Request> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return new Request(new URL(request.url ?? "/", BETTER_AUTH_URL), {
    method: request.method,
    headers: Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    body: parts.length ? Buffer.concat(parts) : undefined,
  });
}

createServer(async (request, response) => {
  const given = await answer(await received(request));
  response.writeHead(given.status, [...given.headers].flat());
  response.end(Buffer.from(await given.arrayBuffer()));
}).listen(Number(new URL(BETTER_AUTH_URL).port), "127.0.0.1");
