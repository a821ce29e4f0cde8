// What `npx auth@latest migrate` does, which needs Node 22.
import { getMigrations } from "better-auth/db/migration";
import { auth } from "@/lib/auth";

await (await getMigrations(auth.options)).runMigrations();
process.exit();
