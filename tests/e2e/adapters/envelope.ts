// For a page that reads { tasks, total }, { task } or { data }, and JSON after a DELETE.
type Send = (path?: string, init?: RequestInit) => Promise<Response>;

export function enveloped(send: Send): Send {
  return async (path = "", init = {}) => {
    const lists = (init.method ?? "GET") === "GET" && /^(\?|$)/.test(path);
    const answer = await send(lists ? `${path}${path ? "&" : "?"}count=true` : path, init);
    if (!answer.ok) return answer;
    if (answer.status === 204) return Response.json({ success: true });
    const data = await answer.json();
    const total = Number(answer.headers.get("X-Total-Count"));
    return Response.json(lists ? { tasks: data, data, total } : { task: data, data }, answer);
  };
}
