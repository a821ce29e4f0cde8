import { SignJWT } from "jose";
import { auth } from "@/lib/auth";

// Only for the second way, a shared secret: Better Auth's plugin cannot sign with one.
export async function GET(request: Request): Promise<Response> {
  const session = await auth.api.getSession({ headers: request.headers });
  if (!session) return new Response(null, { status: 401 });
  const app = process.env.BETTER_AUTH_URL ?? "";
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(session.user.id)
    .setIssuer(app)
    .setAudience(app)
    .setIssuedAt()
    .setExpirationTime("15m")
    .sign(new TextEncoder().encode(process.env.JWT_SECRET));
  return Response.json({ token });
}
