// For a page whose members are userId, dueDate, createdAt, updatedAt.
type Send = (path?: string, init?: RequestInit) => Promise<Response>;

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function renamed(value: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [rename(name), renamed(item, rename)]));
}

export function inCamelCase(send: Send): Send {
  return async (path = "", init = {}) => {
    const body = typeof init.body === "string" ? JSON.stringify(renamed(JSON.parse(init.body), snake)) : init.body;
    const answer = await send(path, { ...init, body });
    if (!answer.ok || answer.status === 204) return answer;
    return Response.json(renamed(await answer.json(), camel), answer);
  };
}
