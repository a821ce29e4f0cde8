import { betterAuth } from "better-auth";
import { jwt } from "better-auth/plugins";
import { Pool } from "pg";

// BETTER_AUTH_URL and BETTER_AUTH_SECRET come from the environment. Tables: npx auth@latest migrate
export const auth = betterAuth({
  database: new Pool(), // as PGHOST, PGDATABASE, PGUSER say; or { connectionString: … }
  emailAndPassword: { enabled: true },
  // The token's sub is the user's id, which is all that the API reads: no email or name travels with it.
  plugins: [jwt({ jwt: { definePayload: () => ({}) } })],
});
