"use client";

import { useState, type FormEvent } from "react";
import { authClient } from "@/lib/auth-client";
import { SignedOut } from "@/lib/tasks-api";
import { forget, tasks } from "@/lib/tasks";

type Task = { id: number; title: string; completed: boolean };

function fields(event: FormEvent<HTMLFormElement>): Record<string, string> {
  event.preventDefault();
  return Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>;
}

export default function Home() {
  const [list, setList] = useState<Task[]>();
  const [problem, setProblem] = useState("");

  async function call(path?: string, init?: RequestInit) {
    try {
      const changed = init ? await tasks(path, init) : undefined;
      setProblem(changed && !changed.ok ? (await changed.json()).detail : "");
      setList(await (await tasks()).json());
    } catch (error) {
      if (!(error instanceof SignedOut)) throw error;
      setList(undefined);
    }
  }

  async function signUp({ email, password }: Record<string, string>) {
    const { error } = await authClient.signUp.email({ name: email, email, password });
    if (error) setProblem(error.message ?? "");
    else await call();
  }

  async function signOut() {
    await authClient.signOut();
    forget();
    setList(undefined);
  }

  if (!list)
    return (
      <form id="sign-up" onSubmit={(event) => signUp(fields(event))}>
        <input name="email" type="email" /> <input name="password" type="password" /> <button>Sign up</button>
        <output id="problem">{problem}</output>
      </form>
    );
  return (
    <>
      <form
        id="create"
        onSubmit={(event) => call("", { method: "POST", body: JSON.stringify(fields(event)) })}
      >
        <input name="title" /> <button>Create</button> <output id="problem">{problem}</output>
      </form>
      <ul id="tasks">
        {list.map(({ id, title, completed }) => (
          <li key={id}>
            <input
              type="checkbox"
              checked={completed}
              onChange={() =>
                call(`/${id}/complete`, { method: "PATCH", body: JSON.stringify({ completed: !completed }) })
              }
            />
            {title}
            <button onClick={() => call(`/${id}`, { method: "DELETE" })}>Delete</button>
          </li>
        ))}
      </ul>
      <button id="sign-out" onClick={signOut}>Sign out</button>
    </>
  );
}
