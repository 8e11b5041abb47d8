//! The demo's sample mail, as data: what customers write to the inboxes, channels and people of
//! example.org. Knows how to build a message, not where it goes.

use std::io;

use mail_builder::MessageBuilder;

use crate::mail::address::Address;
use crate::smtp::Transaction;
use crate::smtp::parameters::{MailParameters, RcptParameters};
use crate::smtp::path::Path;
use crate::smtp::transaction::Recipient;

/// A mail as it is written down here.
pub(super) struct Sample {
    /// Recipients of the envelope and of To:.
    pub to: &'static [&'static str],
    /// Name and address of who wrote it.
    pub from: (&'static str, &'static str),
    /// Subject:
    pub subject: &'static str,
    /// The plain text.
    pub text: &'static str,
    /// The same in HTML.
    pub html: Option<&'static str>,
    /// What is attached.
    pub attached: &'static [Attachment],
    /// Left part of its Message-ID.
    pub id: &'static str,
    /// Left parts of the Message-IDs that it answers, oldest first.
    pub answers: &'static [&'static str],
    /// How long ago it came.
    pub hours_ago: i64,
}

/// A file in a mail.
pub(super) struct Attachment {
    media_type: &'static str,
    name: &'static str,
    bytes: &'static [u8],
}

/// Most mails are plain text to one address.
const PLAIN: Sample = Sample {
    to: &[],
    from: ("", ""),
    subject: "",
    text: "",
    html: None,
    attached: &[],
    id: "",
    answers: &[],
    hours_ago: 0,
};

impl Sample {
    /// The message's bytes, written at `now` (seconds since 1970) minus its age.
    pub(super) fn message(&self, now: i64) -> io::Result<Vec<u8>> {
        let mut message = MessageBuilder::new()
            .from(self.from)
            .to(self.to.to_vec())
            .subject(self.subject)
            .date(now - self.hours_ago * 3600)
            .message_id(message_id(self.id))
            .text_body(self.text);
        if let Some(html) = self.html {
            message = message.html_body(html);
        }
        if let Some(last) = self.answers.last() {
            let all: Vec<String> = self.answers.iter().map(|id| message_id(id)).collect();
            message = message.in_reply_to(message_id(last)).references(all);
        }
        for file in self.attached {
            message = message.attachment(file.media_type, file.name, file.bytes);
        }
        message.write_to_vec()
    }

    /// Its envelope; `None` if an address above cannot be one.
    pub(super) fn transaction(&self) -> Option<Transaction> {
        let path = |address: &str| Some(Path::Address(Address::parse(address)?));
        let recipient =
            |to: &&str| Some(Recipient { path: path(to)?, parameters: RcptParameters::default() });
        let mut transaction = Transaction::new(path(self.from.1)?, MailParameters::default());
        transaction.recipients = self.to.iter().map(recipient).collect::<Option<_>>()?;
        Some(transaction)
    }
}

fn message_id(left: &str) -> String {
    format!("{left}@demo.postfach.example")
}

/// A red square of eight by eight pixels.
const PICTURE: &[u8] = include_bytes!("square.png");

/// All of them, oldest first.
pub(super) const SAMPLES: &[Sample] = &[
    Sample {
        to: &["info@example.org"],
        from: ("Greta Lindqvist", "greta@lindqvist.example"),
        subject: "Opening hours over the holidays?",
        text: "Hello,\n\nare you open between Christmas and New Year?\n\nGreta\n",
        id: "hours-1",
        hours_ago: 190,
        ..PLAIN
    },
    Sample {
        to: &["info@example.org"],
        from: ("Jürgen Groß", "juergen@gross.example"),
        subject: "Öffnungszeiten und Anfahrt für Rollstuhlfahrer",
        text: "Guten Tag,\n\nist Ihr Büro in der Königstraße ebenerdig zu erreichen? Und gibt es\n\
               Parkplätze vor der Tür?\n\nMit freundlichen Grüßen\nJürgen Groß\n",
        id: "access-1",
        hours_ago: 170,
        ..PLAIN
    },
    Sample {
        to: &["support@example.org"],
        from: ("Marta Kowalska", "marta@kowalska.example"),
        subject: "Cannot log in since this morning",
        text: "Hi,\n\nsince the update the app says \"session expired\" at once, whatever I do.\n\
               Version 4.2 on Android.\n\nThanks\nMarta\n",
        id: "login-1",
        hours_ago: 150,
        ..PLAIN
    },
    Sample {
        to: &["support@example.org"],
        from: ("Marta Kowalska", "marta@kowalska.example"),
        subject: "Re: Cannot log in since this morning",
        text: "One more thing: on my old phone with version 4.1 it still works.\n\nMarta\n",
        id: "login-2",
        answers: &["login-1"],
        hours_ago: 148,
        ..PLAIN
    },
    Sample {
        to: &["support@example.org"],
        from: ("Marta Kowalska", "marta@kowalska.example"),
        subject: "Re: Cannot log in since this morning",
        text: "> Have you tried to remove the app's cache?\n\nYes, that helped! Thanks.\n\nMarta\n",
        id: "login-3",
        answers: &["login-1", "login-2"],
        hours_ago: 120,
        ..PLAIN
    },
    Sample {
        to: &["sales@example.org"],
        from: ("Olivier Dupont", "olivier@dupont.example"),
        subject: "Offer for 40 seats",
        text: "Dear sales team,\n\nplease send us an offer for 40 seats, two years.\n\n\
               Kind regards\nOlivier Dupont\n",
        html: Some(
            "<p>Dear sales team,</p><p>please send us an offer for <b>40 seats</b>, two years, \
             paid yearly.</p><p>Kind regards<br>Olivier Dupont</p>",
        ),
        id: "offer-1",
        hours_ago: 118,
        ..PLAIN
    },
    Sample {
        to: &["sales@example.org"],
        from: ("Chiara Esposito", "chiara@esposito.example"),
        subject: "Order form, signed",
        text: "Attached you find the signed order and our list of users.\n\nChiara\n",
        attached: &[
            Attachment {
                media_type: "text/csv",
                name: "users.csv",
                bytes: b"login,name\r\nchiara,Chiara Esposito\r\nluca,Luca Bianchi\r\n",
            },
            Attachment { media_type: "image/png", name: "signature.png", bytes: PICTURE },
        ],
        id: "order-1",
        hours_ago: 100,
        ..PLAIN
    },
    Sample {
        to: &["anna.sales@example.org"],
        from: ("Tomáš Dvořák", "tomas@dvorak.example"),
        subject: "Following up on our call",
        text: "Hi Anna,\n\nit was good to talk yesterday. Could you send the slides?\n\nTomáš\n",
        id: "call-1",
        hours_ago: 96,
        ..PLAIN
    },
    Sample {
        to: &["anna.sales@example.org"],
        from: ("Yuki Tanaka", "yuki@tanaka.example"),
        subject: "見積もりのお願い",
        text: "アンナ様\n\nお世話になっております。見積もりをお願いいたします。\n\n田中\n",
        id: "quote-1",
        hours_ago: 90,
        ..PLAIN
    },
    Sample {
        to: &["ben.sales@example.org"],
        from: ("Ines Carvalho", "ines@carvalho.example"),
        subject: "Renewal in March",
        text: "Hello Ben,\n\nour contract ends in March. What does the renewal cost?\n\nInês\n",
        id: "renewal-1",
        hours_ago: 80,
        ..PLAIN
    },
    Sample {
        to: &["ben.sales@example.org"],
        from: ("Ines Carvalho", "ines@carvalho.example"),
        subject: "Re: Renewal in March",
        text: "And can we pay in two parts?\n\nInês\n",
        id: "renewal-2",
        answers: &["renewal-1"],
        hours_ago: 79,
        ..PLAIN
    },
    Sample {
        to: &["info@example.org", "support@example.org"],
        from: ("Piet de Vries", "piet@devries.example"),
        subject: "Invoice and a broken link",
        text: "Hello,\n\nwhere do I find last month's invoice? The link in your mail leads to an\n\
               error page.\n\nPiet\n",
        id: "invoice-1",
        hours_ago: 72,
        ..PLAIN
    },
    Sample {
        to: &["support@example.org"],
        from: ("Nora Haugen", "nora@haugen.example"),
        subject: "Screenshot of the error",
        text: "See the picture.\n\nNora\n",
        html: Some("<p>See the picture.</p><p>Nora</p>"),
        attached: &[Attachment { media_type: "image/png", name: "error.png", bytes: PICTURE }],
        id: "screenshot-1",
        hours_ago: 60,
        ..PLAIN
    },
    Sample {
        to: &["support@example.org"],
        from: ("Björn Sjöberg", "bjorn@sjoberg.example"),
        subject: "Import läuft nicht durch",
        text: "Hallo zusammen,\n\nder Import bricht bei Zeile 1.204 ab: „ungültiges Zeichen“. Die\n\
               Datei hängt an.\n\nBjörn\n",
        attached: &[Attachment {
            media_type: "text/plain",
            name: "Fehlerprotokoll März.txt",
            bytes: "Zeile 1204: ungültiges Zeichen \u{201e}\u{fffd}\u{201c}\r\n".as_bytes(),
        }],
        id: "import-1",
        hours_ago: 50,
        ..PLAIN
    },
    Sample {
        to: &["sales@example.org"],
        from: ("Olivier Dupont", "olivier@dupont.example"),
        subject: "Re: Offer for 40 seats",
        text: "Any news on this? We would like to decide this week.\n\nOlivier\n",
        id: "offer-2",
        answers: &["offer-1"],
        hours_ago: 46,
        ..PLAIN
    },
    Sample {
        to: &["anna@example.org"],
        from: ("Human Resources", "hr@example.net"),
        subject: "Your holiday request is approved",
        text: "Dear Anna,\n\nyour holiday from 21 December to 4 January is approved.\n",
        id: "holiday-1",
        hours_ago: 40,
        ..PLAIN
    },
    Sample {
        to: &["ben@example.org"],
        from: ("Climbing Club", "news@climbing.example"),
        subject: "Thursday's session moves to 19:00",
        text: "Hi all,\n\nthe hall is taken until seven. See you then!\n",
        id: "climbing-1",
        hours_ago: 36,
        ..PLAIN
    },
    Sample {
        to: &["dora@example.org"],
        from: ("Library", "returns@library.example"),
        subject: "Two books are due on Monday",
        text: "Dear Dora,\n\nplease bring back or renew:\n\n- The Mythical Man-Month\n- Postfix\n",
        id: "library-1",
        hours_ago: 30,
        ..PLAIN
    },
    Sample {
        to: &["carla@example.org"],
        from: ("Auditors", "audit@example.net"),
        subject: "List of documents for the audit",
        text: "Dear Carla,\n\nplease find below what we need by the end of the month.\n",
        id: "audit-1",
        hours_ago: 28,
        ..PLAIN
    },
    Sample {
        to: &["erik@example.org"],
        from: ("Hosting", "noc@hosting.example"),
        subject: "Maintenance on Sunday, 02:00 to 04:00",
        text: "Dear customer,\n\nyour rack will be without its second uplink for two hours.\n",
        id: "maintenance-1",
        hours_ago: 26,
        ..PLAIN
    },
    Sample {
        to: &["info@example.org"],
        from: ("Lokale Zeitung", "redaktion@zeitung.example"),
        subject: "Interviewanfrage: Arbeiten ohne Passwortzettel",
        text: "Sehr geehrte Damen und Herren,\n\nfür unsere Serie über Büros suchen wir ein\n\
               Gespräch über gemeinsame Postfächer.\n",
        id: "interview-1",
        hours_ago: 20,
        ..PLAIN
    },
    Sample {
        to: &["support@example.org"],
        from: ("Sam O'Neill", "sam@oneill.example"),
        subject: "Feature request: dark mode",
        text: "Would love a dark mode. My eyes thank you.\n\nSam\n",
        id: "dark-1",
        hours_ago: 12,
        ..PLAIN
    },
    Sample {
        to: &["sales@example.org", "info@example.org"],
        from: ("Aylin Demir", "aylin@demir.example"),
        subject: "Partnership",
        text: "Hello,\n\nwe resell software for schools. Whom may I talk to?\n\nAylin Demir\n",
        html: Some(
            "<html><body><p>Hello,</p><p>we resell software for schools. Whom may I talk \
             to?</p><p>Aylin Demir</p></body></html>",
        ),
        id: "partner-1",
        hours_ago: 8,
        ..PLAIN
    },
    Sample {
        to: &["support+4711@example.org"],
        from: ("Marta Kowalska", "marta@kowalska.example"),
        subject: "Ticket 4711: back again",
        text: "The same error is back since the update of last night.\n\nMarta\n",
        id: "login-4",
        hours_ago: 3,
        ..PLAIN
    },
    Sample {
        to: &["info@example.org"],
        from: ("Greta Lindqvist", "greta@lindqvist.example"),
        subject: "Re: Opening hours over the holidays?",
        text: "Thank you, I'll come on the 29th then.\n\nGreta\n",
        id: "hours-2",
        answers: &["hours-1"],
        hours_ago: 1,
        ..PLAIN
    },
];
