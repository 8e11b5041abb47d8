"""A Thunderbird with one IMAP account, under its own X server and in its own profile.

Knows accounts, folders and messages in Thunderbird's terms; it does not know what a Postfach
server should show.
"""

import os
import shutil
import signal
import subprocess
import time

from marionette import Marionette

START_SECONDS = 60
PREFERENCES = """
offline.autoDetect=false
offline.startup_state=3
app.donation.eoy.version.viewed=999
app.update.auto=false
app.update.enabled=false
browser.cache.disk.enable=false
browser.safebrowsing.downloads.enabled=false
datareporting.healthreport.uploadEnabled=false
datareporting.policy.dataSubmissionEnabled=false
datareporting.policy.dataSubmissionPolicyBypassNotification=true
extensions.getAddons.cache.enabled=false
extensions.update.enabled=false
gfx.webrender.software=true
mail.inappnotifications.enabled=false
mail.provider.suppress_dialog_on_startup=true
mail.rights.version=1
mail.shell.checkDefaultClient=false
mail.showCondensedAddresses=false
mail.spam.version=1
mail.startup.enabledMailCheckOnce=true
mail.biff.play_sound=false
mail.biff.show_alert=false
mailnews.start_page.enabled=false
mailnews.start_page_override.mstone="ignore"
network.captive-portal-service.enabled=false
network.connectivity-service.enabled=false
network.dns.disableIPv6=true
services.settings.server="data:,"
toolkit.telemetry.enabled=false
toolkit.telemetry.reportingpolicy.firstRun=false
mail.accountmanager.accounts="account1,account2"
mail.accountmanager.defaultaccount="account1"
mail.accountmanager.localfoldersserver="server2"
mail.account.account1.server="server1"
mail.account.account2.server="server2"
mail.server.server1.type="imap"
mail.server.server1.hostname="127.0.0.1"
mail.server.server1.socketType=3
mail.server.server1.authMethod=3
mail.server.server1.login_at_startup=false
mail.server.server1.check_new_mail=false
mail.server.server1.offline_download=false
mail.server.server2.type="none"
mail.server.server2.hostname="Local Folders"
mail.server.server2.userName="nobody"
mail.server.server2.name="Local Folders"
mail.identity.id1.valid=true
mail.identity.id1.smtpServer="smtp1"
mail.smtpservers="smtp1"
mail.smtpserver.smtp1.hostname="127.0.0.1"
mail.smtpserver.smtp1.try_ssl=2
mail.smtpserver.smtp1.authMethod=3
mail.account.account1.identities="id1,id2"
mail.identity.id1.compose_html=false
mail.identity.id2.valid=true
mail.identity.id2.smtpServer="smtp1"
mail.identity.id2.useremail="support@example.org"
mail.identity.id2.fullName="Support"
mail.identity.id2.compose_html=false
mailnews.sendInBackground=false
mail.compose.warn_public_recipients.aggressive=false
"""

COMMON = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.getAccount("account1").incomingServer;
const path = f => decodeURIComponent(f.URI.replace(/^imap:\\/\\/[^/]*\\//, ""));
const folder = name => server.rootFolder.descendants.find(f => path(f) == name);
const window3 = Services.wm.getMostRecentWindow("mail:3pane");
const pane = window3?.document.getElementById("tabmail")?.currentAbout3Pane;
const header = (name, subject) => {
  const database = folder(name)?.msgDatabase;
  return database && [...database.enumerateMessages()].find(h => h.mime2DecodedSubject == subject);
};
"""


class Thunderbird:
    """Started by the constructor, stopped by `stop`; everything it writes is under `directory`."""

    def __init__(self, directory, login, ports, marionette_port, display):
        self.directory = directory
        self.display = f":{display}"
        self.processes = []
        profile = os.path.join(directory, "profile")
        os.makedirs(profile)
        write_preferences(profile, login, ports, marionette_port)
        self.spawn("Xvfb", self.display, "-screen", "0", "1400x900x24", "-nolisten", "tcp")
        await_path(f"/tmp/.X11-unix/X{display}")
        self.spawn(
            "thunderbird", "-profile", profile, "--no-remote",
            "-marionette", "--remote-allow-system-access",
        )  # fmt: skip
        self.remote = Marionette(marionette_port, START_SECONDS)
        self.until("return pane?.document.readyState == 'complete';", seconds=START_SECONDS)

    def spawn(self, *command):
        environment = dict(
            os.environ, DISPLAY=self.display, HOME=self.directory, LC_ALL="C.UTF-8",
            MOZ_DISABLE_CONTENT_SANDBOX="1", MOZ_CRASHREPORTER_DISABLE="1", GDK_BACKEND="x11",
            XDG_RUNTIME_DIR=self.directory, NO_AT_BRIDGE="1",
        )  # fmt: skip
        log = open(os.path.join(self.directory, command[0] + ".log"), "ab")
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        self.processes.append(process)

    def run(self, body, *arguments):
        return self.remote.run(COMMON + body, *arguments)

    def until(self, body, *arguments, seconds=20):
        return self.remote.until(COMMON + body, *arguments, seconds=seconds)

    def trust(self, ca_pem):
        """Imports a certificate authority, as the Certificate Manager does."""
        text = open(ca_pem).read().split("-----BEGIN CERTIFICATE-----")[1]
        base64 = "".join(text.split("-----END")[0].split())
        self.run(
            """const database = Cc["@mozilla.org/security/x509certdb;1"]
                 .getService(Ci.nsIX509CertDB);
               database.addCertFromBase64(args[0], "CT,C,C");""",
            base64,
        )

    def log_in(self, login, password):
        """Stores the password, goes online and lets Thunderbird list the folders."""
        self.run(
            """const login = Cc["@mozilla.org/login-manager/loginInfo;1"]
                 .createInstance(Ci.nsILoginInfo);
               login.init("imap://127.0.0.1", null, "imap://127.0.0.1", args[0], args[1], "", "");
               await Services.logins.addLoginAsync(login);
               const smtp = Cc["@mozilla.org/login-manager/loginInfo;1"]
                 .createInstance(Ci.nsILoginInfo);
               smtp.init("smtp://127.0.0.1", null, "smtp://127.0.0.1", args[0], args[1], "", "");
               await Services.logins.addLoginAsync(smtp);
               Services.io.offline = false;
               server.performExpand(window3.msgWindow);""",
            login,
            password,
        )

    def folders(self):
        """Paths of the folders which Thunderbird shows for the account, in its order."""
        return self.run("return server.rootFolder.descendants.map(path);")

    def open_folder(self, name):
        self.until("return !!folder(args[0]);", name)
        self.run("pane.displayFolder(folder(args[0]).URI);", name)
        self.until("return pane.gFolder?.URI == folder(args[0]).URI && !!pane.gDBView;", name)

    def await_message(self, name, subject, seconds=20):
        return self.until("return !!header(args[0], args[1]);", name, subject, seconds=seconds)

    def show(self, name, subject):
        """Selects the message in the list and gives the text that the message pane shows."""
        self.await_message(name, subject)
        self.until(
            """const row = pane.gDBView.findIndexOfMsgHdr(header(args[0], args[1]), true);
               if (row < 0 || row >= pane.threadTree.view.rowCount) return false;
               pane.threadTree.selectedIndex = row;
               return true;""",
            name,
            subject,
        )
        return self.until(
            """const about = window3.document.getElementById("tabmail").currentAboutMessage;
               if (about?.gMessage?.mime2DecodedSubject != args[0]) return false;
               return about.getMessagePaneBrowser()?.contentDocument?.body?.textContent.trim();""",
            subject,
        )

    def command(self, name):
        """Runs a command of the main window on the selected message, as its menu does."""
        self.until(
            "return pane.commandController.isCommandEnabled(args[0]);",
            name,
        )
        self.run("pane.commandController.doCommand(args[0]);", name)

    def move(self, name, subject, target):
        """Moves a message to another folder, as dragging it there does."""
        self.show(name, subject)
        self.run(
            """pane.gDBView.doCommandWithFolder(
                 Ci.nsMsgViewCommandType.moveMessages, folder(args[0]));""",
            target,
        )

    def reply(self, name, subject, text):
        """Answers a message as its user does: Reply, type, Send. Gives the address that Thunderbird
        chose to send from, once the window is closed."""
        self.show(name, subject)
        self.command("cmd_replySender")
        compose = """const compose = Services.wm.getMostRecentWindow("msgcompose");"""
        self.until(
            compose
            + """return compose?.gMsgCompose?.editor && compose.document.readyState == "complete"
                   && !compose.gWindowLocked && !!compose.GetCurrentEditor()?.document.body;"""
        )
        sender = self.run(compose + "return compose.gCurrentIdentity.email;")
        self.run(
            compose
            + """compose.GetCurrentEditor().insertText(args[0]);
                 compose.goDoCommand("cmd_sendNow");""",
            text,
        )
        self.until("""return !Services.wm.getMostRecentWindow("msgcompose");""")
        return sender

    def flags(self, name, subject):
        return self.run(
            """const h = header(args[0], args[1]);
               return h && { read: h.isRead, flagged: h.isFlagged };""",
            name,
            subject,
        )

    def screenshot(self, path):
        subprocess.run(
            ["import", "-display", self.display, "-window", "root", path], check=True, timeout=20
        )

    def stop(self):
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                process.kill()
                process.wait(5)
        shutil.rmtree(self.directory, ignore_errors=True)


def write_preferences(profile, login, ports, marionette_port):
    lines = [line for line in PREFERENCES.splitlines() if line]
    lines += [
        f"marionette.port={marionette_port}",
        f"mail.server.server1.port={ports['imaps']}",
        f"mail.smtpserver.smtp1.port={ports['submission']}",
        f'mail.smtpserver.smtp1.username="{login}"',
        f'mail.identity.id1.fcc_folder="imap://{login}@127.0.0.1/Sent"',
        f'mail.identity.id2.fcc_folder="imap://{login}@127.0.0.1/Sent"',
        f'mail.server.server1.userName="{login}"',
        f'mail.server.server1.name="{login}"',
        f'mail.identity.id1.useremail="{login}@example.org"',
        f'mail.identity.id1.fullName="{login}"',
    ]
    with open(os.path.join(profile, "user.js"), "w") as file:
        for line in lines:
            name, _, value = line.partition("=")
            file.write(f'user_pref("{name}", {value});\n')


def await_path(path, seconds=10):
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.05)
