import { headers } from "next/headers";
import { auth } from "@/lib/auth";
import { tasksApi } from "@/lib/tasks-api";

// In server components, actions and route handlers: one for each request, since a token is one user's.
export async function tasksOfCaller() {
  const caller = await headers();
  return tasksApi(async () => {
    const session = await auth.api.getSession({ headers: caller });
    return session && (await auth.api.getToken({ headers: caller })).token;
  }).tasks;
}
