"use client";

import { useCallback, useEffect, useState, type FormEvent } from "react";
import { authClient } from "@/lib/auth-client";
import { SignedOut } from "@/lib/tasks-api";
import { forget, tasks } from "@/lib/tasks";

type Task = {
  id: number;
  title: string;
  completed: boolean;
  priority: string;
  due_date: string | null;
  category: string | null;
  tags: string[];
};
type Fields = Record<string, string>;

const PRIORITIES = ["none", "low", "medium", "high", "urgent"];

function fields(event: FormEvent<HTMLFormElement>): Fields {
  event.preventDefault();
  const { submitter } = event.nativeEvent as SubmitEvent;
  return Object.fromEntries(new FormData(event.currentTarget, submitter)) as Fields;
}

/** What is wrong in one sentence, whoever answers: the API, or a proxy in front of it. */
async function problemOf(answer: Response): Promise<string> {
  if (answer.ok) return "";
  const problem = await answer.json().catch(() => ({}));
  return problem.detail ?? `The service answers ${answer.status}; try again`;
}

export default function Home() {
  const [list, setList] = useState<Task[]>([]);
  const [user, setUser] = useState<"unknown" | "signed in" | "signed out">("unknown");
  const [problem, setProblem] = useState("");

  // Change something, if anything, then list again. What is on the page stays there while the API is away.
  const call = useCallback(async (path?: string, init?: RequestInit) => {
    try {
      const changed = init ? await problemOf(await tasks(path, init)) : "";
      const answer = await tasks();
      setProblem(changed || (await problemOf(answer.clone())));
      if (answer.ok) setList(await answer.json());
      setUser("signed in");
    } catch (error) {
      if (error instanceof SignedOut) setUser("signed out");
      else setProblem("The service cannot be reached; try again");
    }
  }, []);

  useEffect(() => void call(), [call]);

  async function sign({ email, password, way }: Fields) {
    const { error } =
      way === "up"
        ? await authClient.signUp.email({ name: email, email, password })
        : await authClient.signIn.email({ email, password });
    if (error) setProblem(error.message ?? "");
    else await call();
  }

  async function signOut() {
    await authClient.signOut();
    forget();
    setList([]);
    setUser("signed out");
  }

  async function create({ tags, ...rest }: Fields) {
    const body = JSON.stringify({ ...rest, tags: tags.split(",").filter((tag) => tag.trim()) });
    await call("", { method: "POST", body });
  }

  const trouble = <output id="problem">{problem}</output>;
  if (user === "unknown") return problem ? <p>{trouble} <button onClick={() => call()}>Again</button></p> : "Loading…";
  if (user === "signed out")
    return (
      <form id="sign-in" onSubmit={(event) => sign(fields(event))}>
        <input name="email" type="email" /> <input name="password" type="password" />
        <button name="way" value="in">Sign in</button> <button name="way" value="up">Sign up</button>
        {trouble}
      </form>
    );
  return (
    <>
      <form id="create" onSubmit={(event) => create(fields(event))}>
        <input name="title" placeholder="Title" />
        <select name="priority" defaultValue="medium">
          {PRIORITIES.map((priority) => (
            <option key={priority}>{priority}</option>
          ))}
        </select>
        <input name="due_date" type="datetime-local" />
        <input name="category" placeholder="Category" />
        <input name="tags" placeholder="Tags, with commas" />
        <button>Create</button> {trouble}
      </form>
      <ul id="tasks">
        {list.map(({ id, title, completed, priority, due_date, category, tags }) => (
          <li key={id}>
            <input
              type="checkbox"
              checked={completed}
              onChange={() =>
                call(`/${id}/complete`, { method: "PATCH", body: JSON.stringify({ completed: !completed }) })
              }
            />
            <b>{title}</b> <i>{[priority, due_date?.replace("T", " ").slice(0, 16), category, ...tags].filter(Boolean).join(" · ")}</i>
            <button onClick={() => call(`/${id}`, { method: "DELETE" })}>Delete</button>
          </li>
        ))}
      </ul>
      <button id="sign-out" onClick={signOut}>Sign out</button>
    </>
  );
}
