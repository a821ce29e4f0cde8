import { authClient } from "@/lib/auth-client";
import { tasksApi } from "@/lib/tasks-api";

// In the browser. Call forget() where somebody signs out.
export const { tasks, forget } = tasksApi(async () => {
  const { data, error } = await authClient.token();
  if (error && error.status !== 401) throw new Error(`The app gave no token: ${error.status}`);
  return data?.token ?? null;
});
