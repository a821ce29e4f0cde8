import { createAuthClient } from "better-auth/client"; // "better-auth/react" where its hooks are used
import { jwtClient } from "better-auth/client/plugins";

export const authClient = createAuthClient({ plugins: [jwtClient()] });
