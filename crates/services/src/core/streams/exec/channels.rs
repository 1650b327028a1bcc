//! Exec and attach over channels (`v5.channel.k8s.io` and before).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    super::{
        Broken, Conversation, FromContainer, Phase, ToContainer,
        channels::{CLOSE, Coding, ERROR, RESIZE, STDERR, STDIN, STDOUT},
        options::Streams,
        piece,
        resize::Resizes,
    },
    EndForm, lost,
};

/// What the last message says, as far as it was not heard.
#[derive(Default)]
enum Unheard {
    #[default]
    Nothing,
    Stdin(Bytes),
    StdinEnd,
    Resize(u16, u16),
    /// A message about the end of a channel that names none.
    Broken(usize),
}

/// A conversation about a process over channels.
pub struct ChannelExec {
    coding: Coding,
    end_form: EndForm,
    /// Whether channels can end one by one (version 5).
    has_close: bool,
    streams: Streams,
    resizes: Resizes,
    unheard: Unheard,
    unsent: VecDeque<Bytes>,
    phase: Phase,
}

impl ChannelExec {
    /// Begins it.
    pub fn new(coding: Coding, end_form: EndForm, has_close: bool, streams: Streams) -> Self {
        let mut exec = ChannelExec {
            coding,
            end_form,
            has_close,
            streams,
            resizes: Resizes::default(),
            unheard: Unheard::Nothing,
            unsent: VecDeque::new(),
            phase: Phase::Talking,
        };
        // Clients take an empty message for the sign that they are connected.
        exec.send(streams.first_channel(), b"");
        exec
    }

    fn send(&mut self, channel: u8, bytes: &[u8]) {
        self.unsent.push_back(self.coding.encode(channel, bytes));
    }

    fn is_close(&self, message: &Bytes) -> bool {
        self.has_close && message.first() == Some(&CLOSE)
    }

    fn close(channels: &[u8]) -> Unheard {
        match channels {
            [STDIN] => Unheard::StdinEnd,
            // Nothing follows from the end of another.
            [_] => Unheard::Nothing,
            _ => Unheard::Broken(channels.len() + 1),
        }
    }
}

impl Conversation for ChannelExec {
    type Heard = ToContainer;
    type Said = FromContainer;

    fn receive(&mut self, message: Bytes) {
        self.unheard = if self.is_close(&message) {
            ChannelExec::close(&message[1..])
        } else {
            match self.coding.decode(message) {
                Some((STDIN, bytes)) if self.streams.stdin => Unheard::Stdin(bytes),
                Some((RESIZE, bytes)) => match self.resizes.read(&bytes) {
                    Some((width, height)) => Unheard::Resize(width, height),
                    None => Unheard::Nothing,
                },
                // Kubernetes passes over the others, too.
                _ => Unheard::Nothing,
            }
        };
    }

    fn hear(&mut self) -> Result<Option<ToContainer>, Broken> {
        Ok(match std::mem::take(&mut self.unheard) {
            Unheard::Nothing => None,
            Unheard::Stdin(mut bytes) if !bytes.is_empty() => {
                let heard = piece(&mut bytes);
                self.unheard = Unheard::Stdin(bytes);
                Some(ToContainer::Stdin(heard))
            }
            Unheard::Stdin(_) => None,
            Unheard::StdinEnd => Some(ToContainer::StdinEnd),
            Unheard::Resize(width, height) => Some(ToContainer::Resize { width, height }),
            Unheard::Broken(length) => return Err(Broken::Close(length)),
        })
    }

    fn say(&mut self, said: FromContainer) {
        if self.phase != Phase::Talking {
            return;
        }
        match said {
            // Empty ones would say nothing.
            FromContainer::Stdout(bytes) | FromContainer::Stderr(bytes) if bytes.is_empty() => {}
            FromContainer::Stdout(bytes) if self.streams.stdout => self.send(STDOUT, &bytes),
            FromContainer::Stderr(bytes) if self.streams.stderr => self.send(STDERR, &bytes),
            FromContainer::Stdout(_) | FromContainer::Stderr(_) => {}
            FromContainer::Ended(status) => {
                if let Some(end) = self.end_form.write(&status) {
                    self.send(ERROR, end.as_bytes());
                }
                self.phase = Phase::Ended;
            }
        }
    }

    fn end(&mut self) {
        self.say(FromContainer::Ended(lost()));
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn transmit(&mut self) -> Option<Bytes> {
        self.unsent.pop_front()
    }
}
