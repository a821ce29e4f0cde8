import { redirect } from "next/navigation";
import { Suspense } from "react";
import { SignedOut } from "@/lib/tasks-api";
import { tasksOfCaller } from "@/lib/tasks-server";

type Task = { id: number; title: string; completed: boolean };

// A server component: the browser sees neither the token nor the API.
export default function Page() {
  return (
    <Suspense fallback="Loading…">
      <Pending />
    </Suspense>
  );
}

async function Pending() {
  const tasks = await tasksOfCaller();
  const answer = await tasks("?status=pending").catch((error: unknown) => {
    if (error instanceof SignedOut) redirect("/");
    throw error;
  });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const pending: Task[] = await answer.json();
  return (
    <ul id="pending">
      {pending.map((task) => (
        <li key={task.id}>{task.title}</li>
      ))}
    </ul>
  );
}
