// Two users with ImapFlow: one watches a folder in IDLE, the other gives it a mail.
// Arguments: port, file of the authority, password of anna, password of ben, subject of the mail.
// Prints one JSON object a line: what the library understood.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { ImapFlow } = createRequire(process.env.NODE_FOLDER + "/")("imapflow");
const [port, authority, anna, ben, subject] = process.argv.slice(2);
const say = (fact) => console.log(JSON.stringify(fact));

const client = (user, pass) =>
  new ImapFlow({
    host: "localhost",
    port: Number(port),
    secure: true,
    tls: { ca: readFileSync(authority) },
    auth: { user, pass },
    logger: false,
  });

const giver = client("anna", anna);
const receiver = client("ben", ben);
await giver.connect();
await receiver.connect();

const folders = await giver.list();
say({ folders: folders.map((folder) => folder.path) });
say({ special: folders.filter((f) => f.specialUse).map((f) => [f.path, f.specialUse]) });

const mine = "Shared/Support/Assigned/ben";
await receiver.mailboxOpen(mine);
let told = null;
receiver.on("exists", () => (told ??= Date.now()));
let flags = null;
receiver.on("flags", (update) => (flags = [...update.flags]));
receiver.idle();

const lock = await giver.getMailboxLock("Shared/Support");
const [uid] = await giver.search({ subject }, { uid: true });
const message = await giver.fetchOne(uid, { envelope: true, flags: true }, { uid: true });
say({ envelope: [message.envelope.subject, message.envelope.from[0].address] });
const before = Date.now();
const moved = await giver.messageMove(uid, mine, { uid: true });
lock.release();
say({ moved: moved.uidMap.size });

const until = async (probe, milliseconds) => {
  const end = Date.now() + milliseconds;
  while (!probe() && Date.now() < end) await new Promise((resume) => setTimeout(resume, 5));
};
await until(() => told, 3000);
say({ told: told && told - before });

const other = await giver.getMailboxLock(mine);
const [there] = await giver.search({ subject }, { uid: true });
await giver.messageFlagsAdd(there, ["\\Answered"], { uid: true });
other.release();
await until(() => flags, 3000);
say({ flags });

await receiver.logout();
await giver.logout();
