// For a page that keeps its token in a cookie: a route handler of its own origin, which passes requests on to
// the API with the token in Authorization. In Next.js: app/api/[user]/tasks/[[...rest]]/route.ts.
const COOKIE = /(?:^|; *)auth_token=([^;]*)/;

export async function forward(request: Request): Promise<Response> {
  // A cookie is sent whichever site asks, so that other sites are refused here.
  const site = request.headers.get("Sec-Fetch-Site") ?? "same-origin";
  if (site !== "same-origin") return Response.json({ detail: "Another site asks" }, { status: 403 });
  const token = decodeURIComponent(COOKIE.exec(request.headers.get("Cookie") ?? "")?.[1] ?? "");
  const { pathname, search } = new URL(request.url);
  const headers = new Headers({ Authorization: `Bearer ${token}` });
  for (const name of ["If-Match", "If-None-Match", "Idempotency-Key"])
    if (request.headers.has(name)) headers.set(name, request.headers.get(name) ?? "");
  const body = await request.text();
  const init = { method: request.method, headers, body: body || undefined };
  return fetch(`${process.env.API_URL}${pathname}${search}`, init);
}
