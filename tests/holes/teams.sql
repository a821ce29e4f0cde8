-- Teams: policies that trust other tables, of which the API's role may write what is compared.

-- joining any team: hole membership app.members.team_id
create table app.members (team_id bigint not null, user_id text collate "C" not null default app.current_user_id(), primary key (team_id, user_id));
call attack.protect('app.members', 'select, insert (team_id), delete');
create table app.documents (id bigint, team_id bigint not null, body text);
insert into app.documents values (1, 7, 'secret');
call attack.protect('app.documents', 'select', 'exists (select from app.members m where m.team_id = documents.team_id and m.user_id = app.current_user_id())');
-- exploit
insert into app.members (team_id) values (7);
select exists (select from app.documents);

-- joining any team, by in: hole membership app.joined.team_id
create table app.joined (team_id bigint not null, user_id text collate "C" not null default app.current_user_id(), primary key (team_id, user_id));
call attack.protect('app.joined', 'select, insert, delete');
create table app.boards (id bigint, team_id bigint not null, body text);
insert into app.boards values (1, 7, 'secret');
call attack.protect('app.boards', 'select', 'team_id in (select team_id from app.joined where user_id = app.current_user_id())');
-- exploit
insert into app.joined (team_id) values (7);
select exists (select from app.boards);

-- moving to any team: hole membership app.seats.team_id
create table app.seats (user_id text collate "C" primary key default app.current_user_id(), team_id bigint);
insert into app.seats values ('mallory', 1);
call attack.protect('app.seats', 'select, update (team_id)');
create table app.plans (id bigint, team_id bigint not null);
insert into app.plans values (1, 7);
call attack.protect('app.plans', 'select', 'team_id = (select s.team_id from app.seats s where s.user_id = app.current_user_id())');
-- exploit
update app.seats set team_id = 7;
select exists (select from app.plans);

-- joining by a definer's test: hole membership app.circles.circle
create table app.circles (circle text not null, user_id text collate "C" not null default app.current_user_id(), primary key (circle, user_id));
call attack.protect('app.circles', 'select, insert (circle)');
create function app.in_circle(wanted text) returns boolean language sql stable security definer set search_path = pg_catalog as 'select exists (select from app.circles c where c.circle = wanted and c.user_id = app.current_user_id())';
create table app.letters (id bigint, circle text not null);
insert into app.letters values (1, 'alices');
call attack.protect('app.letters', 'select', 'app.in_circle(circle)');
-- exploit
insert into app.circles (circle) values ('alices');
select exists (select from app.letters);

-- becoming an administrator: hole membership app.accounts.is_admin
create table app.accounts (user_id text collate "C" primary key default app.current_user_id(), name text, is_admin boolean not null default false);
insert into app.accounts values ('mallory', 'm', false);
call attack.protect('app.accounts', 'select, insert, update');
create table app.ledgers (id bigint, body text);
insert into app.ledgers values (1, 'secret');
call attack.protect('app.ledgers', 'select', 'exists (select from app.accounts a where a.user_id = app.current_user_id() and a.is_admin)');
-- exploit
update app.accounts set is_admin = true;
select exists (select from app.ledgers);

-- becoming what a role says: hole membership app.workers.role
create table app.workers (user_id text collate "C" primary key default app.current_user_id(), role text not null default 'guest');
insert into app.workers values ('mallory', 'guest');
call attack.protect('app.workers', 'select, update (role)');
create policy for_chiefs on app.tasks for select to tasks_api using ((select w.role from app.workers w where w.user_id = app.current_user_id()) = 'chief');
-- exploit
update app.workers set role = 'chief';
select attack.sees('app.tasks');

-- a zone of one's own choice: hole membership app.homes.zone_id
create table app.homes (user_id text collate "C" primary key default app.current_user_id(), zone_id bigint);
insert into app.homes values ('mallory', 1);
call attack.protect('app.homes', 'select, update (zone_id)');
create function app.my_zone() returns bigint language sql stable security definer set search_path = pg_catalog as 'select zone_id from app.homes where user_id = app.current_user_id()';
create table app.readings (id bigint, zone_id bigint);
insert into app.readings values (1, 7);
call attack.protect('app.readings', 'select', 'zone_id = app.my_zone()');
-- exploit
update app.homes set zone_id = 7;
select exists (select from app.readings);

-- members in a table without row security: hole row_security app.loose_members
create table app.loose_members (team_id bigint not null, user_id text collate "C" not null);
grant select, insert on app.loose_members to tasks_api;
create table app.memos (id bigint, team_id bigint not null);
insert into app.memos values (1, 7);
call attack.protect('app.memos', 'select', 'exists (select from app.loose_members m where m.team_id = memos.team_id and m.user_id = app.current_user_id())');
-- exploit
insert into app.loose_members values (7, 'mallory');
select exists (select from app.memos);

-- a test that compares a table with itself: hole policy own on app.papers
create table app.guilds (guild_id bigint not null, user_id text collate "C" not null, primary key (guild_id, user_id));
insert into app.guilds values (1, 'mallory');
alter table app.guilds enable row level security;
create policy own on app.guilds for select to tasks_api using (user_id = app.current_user_id());
grant select on app.guilds to tasks_api;
create table app.papers (id bigint, guild_id bigint not null);
insert into app.papers values (1, 7);
call attack.protect('app.papers', 'select', 'exists (select from app.guilds g where g.guild_id = guild_id and g.user_id = app.current_user_id())');
-- exploit
select exists (select from app.papers);

-- a test that asks for no user: hole policy own on app.notices
create table app.clubs (club_id bigint not null primary key);
insert into app.clubs values (7);
alter table app.clubs enable row level security;
create policy read on app.clubs for select to tasks_api using (true);
grant select on app.clubs to tasks_api;
create table app.notices (id bigint, club_id bigint not null);
insert into app.notices values (1, 7);
call attack.protect('app.notices', 'select', 'exists (select from app.clubs c where c.club_id = notices.club_id)');
-- exploit
select exists (select from app.notices);

-- a test with a way round it: hole policy own on app.cards
create table app.decks (deck_id bigint not null, user_id text collate "C" not null, is_open boolean, primary key (deck_id, user_id));
insert into app.decks values (7, 'alice', true);
alter table app.decks enable row level security;
create policy own on app.decks for select to tasks_api using (user_id = app.current_user_id() or is_open);
grant select on app.decks to tasks_api;
create table app.cards (id bigint, deck_id bigint not null);
insert into app.cards values (1, 7);
call attack.protect('app.cards', 'select', 'exists (select from app.decks d where d.deck_id = cards.deck_id and (d.user_id = app.current_user_id() or d.is_open))');
-- exploit
select exists (select from app.cards);

-- a check that the column is there: hole membership app.squads.squad_id
create table app.squads (squad_id bigint, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.squads', 'select, insert (squad_id)', 'user_id = app.current_user_id() and squad_id is not null');
create table app.drills (id bigint, squad_id bigint not null);
insert into app.drills values (1, 7);
call attack.protect('app.drills', 'select', 'exists (select from app.squads s where s.squad_id = drills.squad_id and s.user_id = app.current_user_id())');
-- exploit
insert into app.squads (squad_id) values (7);
select exists (select from app.drills);

-- argument with the name of a column: hole policy members on app.crews
create table app.crew_members (crew_id bigint, user_id text collate "C" not null default app.current_user_id(), primary key (crew_id, user_id));
call attack.protect('app.crew_members', 'select');
insert into app.crew_members values (7, 'alice'), (1, 'mallory');
create function app.is_in_crew(crew_id bigint) returns boolean language sql stable as 'select exists (select from app.crew_members m where m.crew_id = crew_id and m.user_id = app.current_user_id())';
create table app.crews (crew_id bigint, plan text);
insert into app.crews values (7, 'secret');
alter table app.crews enable row level security; alter table app.crews force row level security;
create policy members on app.crews for select to tasks_api using (app.is_in_crew(crew_id));
grant select on app.crews to tasks_api;
-- exploit
select 'secret' in (select plan from app.crews);

-- two columns of the sub-select: warning policy handed on app.tasks
create table app.handed (id bigint primary key, owner text collate "C" not null, task_id bigint not null, user_id text collate "C" not null default app.current_user_id());
call attack.protect('app.handed', 'select');
insert into app.handed values (1, 'alice', 1, 'mallory');
create policy handed on app.tasks for select to tasks_api using (exists (select from app.handed h where h.owner = tasks.user_id and task_id = id and h.user_id = app.current_user_id()));
-- exploit
select attack.sees('app.tasks');

-- a helper that ignores its argument: hole policy own on app.crew_notes
create table app.crew (crew bigint, who text, primary key (crew, who));
call attack.protect('app.crew', 'select', 'who = app.current_user_id()');
create table app.crew_notes (id bigint primary key, crew bigint not null);
insert into app.crew values (1, 'mallory');
insert into app.crew_notes values (1, 1), (2, 2);
create function app.can_see(note bigint) returns boolean language sql stable as 'select exists (select from app.crew c where c.who = app.current_user_id())';
call attack.protect('app.crew_notes', 'select', 'app.can_see(id)');
-- exploit
select count(*) = 2 from app.crew_notes;

-- an administrator of one team adds to all: hole policy add on app.crewmen
create table app.crewmen (crew text, who text, role text not null default 'member', primary key (crew, who));
alter table app.crewmen enable row level security;
alter table app.crewmen force row level security;
create policy own on app.crewmen for select to tasks_api using (who = app.current_user_id());
create policy add on app.crewmen for insert to tasks_api with check (exists (select from app.crewmen m where m.crew = crew and m.who = app.current_user_id() and m.role = 'admin'));
grant select, insert on app.crewmen to tasks_api;
create table app.crew_files (id bigint, crew text not null);
call attack.protect('app.crew_files', 'select', 'crew in (select m.crew from app.crewmen m where m.who = app.current_user_id())');
insert into app.crewmen values ('mallory''s', 'mallory', 'admin');
insert into app.crew_files values (1, 'alice''s');
-- exploit
insert into app.crewmen values ('alice''s', 'mallory');
select exists (select from app.crew_files);

-- a delegation by the delegate: hole membership app.proxies_of.boss
create table app.proxies_of (boss text not null, deputy text not null default app.current_user_id(), primary key (boss, deputy));
alter table app.proxies_of enable row level security;
create policy seen on app.proxies_of for select to tasks_api using (boss = app.current_user_id() or deputy = app.current_user_id());
create policy made on app.proxies_of for insert to tasks_api with check (deputy = app.current_user_id());
grant select, insert on app.proxies_of to tasks_api;
create table app.mails_of (id bigint, mailbox text not null, primary key (mailbox, id));
call attack.protect('app.mails_of', 'select', 'mailbox = app.current_user_id()');
create policy read_too on app.mails_of for select to tasks_api using (exists (select from app.proxies_of d where d.boss = mails_of.mailbox and d.deputy = app.current_user_id()));
insert into app.mails_of values (1, 'alice');
-- exploit
insert into app.proxies_of values ('alice');
select exists (select from app.mails_of);

-- a request that its author accepts: warning membership app.follows_of.followed
create table app.follows_of (follower text not null default app.current_user_id(), followed text not null, state text not null default 'asked', primary key (follower, followed));
call attack.protect('app.follows_of', 'select', 'false');
create policy read_both on app.follows_of for select to tasks_api using (follower = app.current_user_id() or followed = app.current_user_id());
create policy ask on app.follows_of for insert to tasks_api with check (follower = app.current_user_id() and state = 'accepted');
grant insert on app.follows_of to tasks_api;
create table app.feed_of (id bigint, author text not null, primary key (author, id));
call attack.protect('app.feed_of', 'select', 'exists (select from app.follows_of f where f.followed = feed_of.author and f.follower = app.current_user_id() and f.state = ''accepted'')');
insert into app.feed_of values (1, 'alice');
-- exploit
insert into app.follows_of (followed, state) values ('alice', 'accepted');
select exists (select from app.feed_of);

-- a request that needs no acceptance: warning membership app.follows_at.followed
create table app.follows_at (follower text not null default app.current_user_id(), followed text not null, state text not null default 'asked', primary key (follower, followed));
call attack.protect('app.follows_at', 'select', 'false');
create policy read_both on app.follows_at for select to tasks_api using (follower = app.current_user_id() or followed = app.current_user_id());
create policy ask on app.follows_at for insert to tasks_api with check (follower = app.current_user_id() and state = 'asked');
grant insert on app.follows_at to tasks_api;
create table app.feed_at (id bigint, author text not null, primary key (author, id));
call attack.protect('app.feed_at', 'select', 'exists (select from app.follows_at f where f.followed = feed_at.author and f.follower = app.current_user_id() and (f.state = ''accepted'' or f.state <> ''blocked''))');
insert into app.feed_at values (1, 'alice');
-- exploit
insert into app.follows_at (followed) values ('alice');
select exists (select from app.feed_at);

-- a mandate by the grantee, by a function: hole membership app.mandates_of.grantor
create table app.mandates_of (grantor text not null, grantee text not null default app.current_user_id(), primary key (grantor, grantee));
call attack.protect('app.mandates_of', 'select, insert', 'grantee = app.current_user_id()');
create function app.acts_as(whom text) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as 'select exists (select from app.mandates_of g where g.grantor = whom and g.grantee = app.current_user_id())';
create table app.diaries_of (id bigint, owner text not null, primary key (owner, id));
call attack.protect('app.diaries_of', 'select', 'owner = app.current_user_id() or app.acts_as(owner)');
insert into app.diaries_of values (1, 'alice');
-- exploit
insert into app.mandates_of values ('alice');
select exists (select from app.diaries_of);

-- owner and number of a share in two sub-selects: warning membership app.lent.number
create table app.lent (user_id text collate "C" not null default app.current_user_id(), number bigint not null, reader text collate "C" not null, primary key (user_id, number, reader));
insert into app.lent values ('alice', 1, 'mallory');
call attack.protect('app.lent', 'select, insert (number, reader)');
create policy read on app.lent for select to tasks_api using (reader = app.current_user_id());
create table app.leaves (user_id text collate "C" not null, number bigint not null, body text, primary key (user_id, number));
insert into app.leaves values ('alice', 2, 'secret');
call attack.protect('app.leaves', 'select', 'user_id in (select l.user_id from app.lent l where l.reader = app.current_user_id()) and number in (select l.number from app.lent l where l.reader = app.current_user_id())');
-- exploit
insert into app.lent (number, reader) values (2, 'mallory');
select exists (select from app.leaves);

-- accepts their own request, by a boolean: hole membership app.pals.accepted
create table app.pals (asker text not null default app.current_user_id(), asked text not null, accepted boolean not null default false, primary key (asker, asked));
call attack.protect('app.pals', 'select', 'false');
create policy ask on app.pals for insert to tasks_api with check (asker = app.current_user_id());
grant insert (asked, accepted) on app.pals to tasks_api;
create table app.chats (id bigint, owner text not null, primary key (owner, id));
call attack.protect('app.chats', 'select', 'exists (select from app.pals f where f.asked = chats.owner and f.asker = app.current_user_id() and f.accepted)');

-- a helper that finds a share by the number of a task alone: warning policy app.is_shared(text,bigint) | unmended
create table app.task_shares (owner_id text collate "C" not null, task_id bigint not null, shared_with text collate "C" not null, primary key (owner_id, task_id, shared_with));
call attack.protect('app.task_shares', 'select', 'shared_with = app.current_user_id()');
insert into app.task_shares values ('carol', 77, 'mallory');
create function app.is_shared(of_owner text, task bigint) returns boolean language sql stable as $$
select of_owner = app.current_user_id() or exists (select from app.task_shares s where s.task_id = task and s.shared_with = app.current_user_id()) $$;
create policy shared_by_number on app.tasks for select to tasks_api using (app.is_shared(user_id, id));
-- exploit
select attack.sees('app.tasks');

-- a helper that trusts a setting: hole policy own on app.gang_logs3
create table app.gangs3 (crew text collate "C", user_id text collate "C", primary key (crew, user_id));
call attack.protect('app.gangs3', 'select');
create function app.in_gang(wanted text) returns boolean language sql stable as $$
  select wanted = any (string_to_array(current_setting('app.gangs', true), ',')) or exists (select from app.gangs3 c where c.crew = wanted and c.user_id = app.current_user_id()) $$;
create table app.gang_logs3 (crew text collate "C" primary key, body text);
insert into app.gang_logs3 values ('alices', 'secret');
call attack.protect('app.gang_logs3', 'select', 'app.in_gang(crew)');
-- exploit
select set_config('app.gangs', 'alices', true);
select exists (select from app.gang_logs3);

-- a role in any team: hole policy for_owners on app.tasks
create table app.gangs4 (crew text collate "C", user_id text collate "C", role text not null, primary key (crew, user_id));
insert into app.gangs4 values ('own', 'mallory', 'owner');
call attack.protect('app.gangs4', 'select');
create policy for_owners on app.tasks for select to tasks_api using (exists (select from app.gangs4 c where c.user_id = app.current_user_id() and c.role = 'owner'));
-- exploit
select attack.sees('app.tasks');

-- all users but those whom the owner has blocked, by a function: warning security_definer app.may_see(text) | alone | unmended
create table app.blocks (blocker text collate "C" not null, blocked text collate "C" not null, primary key (blocker, blocked));
alter table app.blocks enable row level security;
create function app.may_see(owner text) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
select not exists (select from app.blocks b where b.blocker = owner and b.blocked = app.current_user_id()) $$;
create table app.postings (user_id text collate "C" not null default app.current_user_id(), id bigint not null, primary key (user_id, id));
insert into app.postings values ('alice', 1);
call attack.protect('app.postings', 'select', 'app.may_see(user_id)');
-- exploit
select attack.sees('app.postings');

-- a role in any team, by a function: warning policy app.leads_a_gang() | unmended
create table app.gangs5 (crew text collate "C", user_id text collate "C", role text not null, primary key (crew, user_id));
insert into app.gangs5 values ('own', 'mallory', 'owner');
call attack.protect('app.gangs5', 'select');
create function app.leads_a_gang() returns boolean language sql stable as $$ select exists (select from app.gangs5 c where c.user_id = app.current_user_id() and c.role = 'owner') $$;
create policy for_leaders on app.tasks for select to tasks_api using (app.leads_a_gang());
-- exploit
select attack.sees('app.tasks');

-- joining any team by a definer: warning security_definer app.join_gang(text)
create table app.gangs (crew text collate "C", user_id text collate "C", primary key (crew, user_id));
call attack.protect('app.gangs', 'select');
create function app.join_gang(wanted text) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$ insert into app.gangs values (wanted, app.current_user_id()) $$;
create table app.gang_logs (crew text collate "C" primary key, body text);
insert into app.gang_logs values ('alices', 'secret');
call attack.protect('app.gang_logs', 'select', 'exists (select from app.gangs c where c.crew = gang_logs.crew and c.user_id = app.current_user_id())');
-- exploit
select app.join_gang('alices');
select exists (select from app.gang_logs);

-- a role from an argument: warning membership app.tune_gang(text, jsonb)
create table app.gangs2 (crew text collate "C", user_id text collate "C", is_muted boolean, role text not null default 'member', primary key (crew, user_id));
insert into app.gangs2 values ('alices', 'mallory');
call attack.protect('app.gangs2', 'select');
create function app.tune_gang(wanted text, changes jsonb) returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
  update app.gangs2 c set is_muted = (changes ->> 'is_muted')::boolean, role = coalesce(changes ->> 'role', c.role)
  where c.crew = wanted and c.user_id = app.current_user_id() $$;
create table app.gang_logs2 (crew text collate "C" primary key, body text);
insert into app.gang_logs2 values ('alices', 'secret');
call attack.protect('app.gang_logs2', 'select', 'exists (select from app.gangs2 c where c.crew = gang_logs2.crew and c.user_id = app.current_user_id() and c.role = ''owner'')');
-- exploit
select app.tune_gang('alices', '{"role": "owner"}');
select exists (select from app.gang_logs2);

-- a directory with the number of tasks: warning policy directory on app.users
alter table app.users add column is_listed boolean not null default true;
create policy directory on app.users for select to tasks_api using (is_listed);
-- exploit
select last_task_id = 77 from app.users where id = 'alice';
