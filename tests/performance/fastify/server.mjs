// Fastify with postgres.js, written by hand for one round trip a request: begin, identity, statement and
// commit are pipelined on one connection. The database builds the JSON, as for the API.
import { createVerifier } from "fast-jwt";
import Fastify from "fastify";
import postgres from "postgres";

const sql = postgres({
  host: process.env.PGHOST,
  port: Number(process.env.PGPORT ?? 5432),
  user: process.env.PGUSER,
  database: process.env.PGDATABASE,
  max: Number(process.env.POOL_SIZE),
  idle_timeout: 0,
});
const verify = createVerifier({ key: process.env.JWT_SECRET, algorithms: ["HS256"], cache: 16384 });
const app = Fastify();

function authorize(request, reply, done) {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  let user;
  try {
    user = scheme.toLowerCase() === "bearer" && verify(token).sub;
  } catch {
    return reply.code(401).send({ detail: "Invalid token" });
  }
  if (user !== request.params.user) return reply.code(403).send({ detail: "Not authorized" });
  done();
}

async function run(user, begin, statement) {
  const connection = await sql.reserve();
  try {
    const [, , rows] = await Promise.all([
      connection.unsafe(begin),
      connection`select set_config('app.user_id', ${user}, true)`,
      statement(connection),
      connection`commit`,
    ]);
    return rows;
  } finally {
    connection.release();
  }
}

const read = (user, statement) => run(user, "begin read only", statement);
const write = (user, statement) => run(user, "begin", statement);

function answer(reply, [row], status = 200) {
  if (!row) return reply.code(404).send({ detail: "Task not found" });
  reply.code(status).header("content-type", "application/json").header("etag", `"${row.version}"`);
  return reply.header("cache-control", "private, no-cache").send(row.json);
}

const options = { onRequest: authorize };
const tasks = "/api/:user/tasks";

app.get(tasks, options, async ({ params: { user }, query }, reply) => {
  const limit = Number(query.limit ?? 1000) + 1;
  const rows = await read(
    user,
    (sql) => sql`select to_json(task)::text as json from (
      select * from app.tasks where user_id = ${user} order by id desc limit ${limit}) as task`,
  );
  return reply.header("content-type", "application/json").send(`[${rows.map((row) => row.json).join(",")}]`);
});

app.post(tasks, options, async ({ params: { user }, body }, reply) => {
  const rows = await write(
    user,
    (sql) => sql`with created as (
      insert into app.tasks (title, description) values (${body.title}, ${body.description ?? null}) returning *)
      select to_json(created)::text as json, version from created`,
  );
  return answer(reply, rows, 201);
});

app.get(`${tasks}/:id`, options, async ({ params: { user, id } }, reply) =>
  answer(
    reply,
    await read(
      user,
      (sql) => sql`select to_json(task)::text as json, version from app.tasks as task
        where user_id = ${user} and id = ${id}`,
    ),
  ),
);

app.put(`${tasks}/:id`, options, async ({ params: { user, id }, body }, reply) =>
  answer(
    reply,
    await write(
      user,
      (sql) => sql`with changed as (
        update app.tasks set title = coalesce(${body.title ?? null}, title),
          description = coalesce(${body.description ?? null}, description)
        where user_id = ${user} and id = ${id} returning *)
        select to_json(changed)::text as json, version from changed`,
    ),
  ),
);

app.get("/health", async () => ({ status: "healthy" }));
await app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
