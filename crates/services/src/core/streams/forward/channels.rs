//! Port-forward over channels (`v4.channel.k8s.io`), as the Python client and kube-rs do it:
//! the request names the ports, each has one connection, whose data goes over channel 2n and
//! whose error over channel 2n + 1. The first message of each channel tells the port.
//!
//! Neither side can end one direction only; a connection that ended is told by nothing.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::{
    Broken, ConnectionId, Conversation, Forward, Phase, channels::Coding, options::Ports, piece,
};

struct Connection {
    port: u16,
    /// Whether it was told that the client has it.
    is_heard: bool,
    is_over: bool,
}

/// A conversation about ports over channels.
pub struct ChannelForward {
    coding: Coding,
    connections: Vec<Connection>,
    /// Data of the last message that was not heard.
    unheard: Option<(ConnectionId, Bytes)>,
    unsent: VecDeque<Bytes>,
}

impl ChannelForward {
    /// Begins it.
    pub fn new(coding: Coding, ports: &Ports) -> Self {
        let connection = |port: &u16| Connection {
            port: *port,
            is_heard: false,
            is_over: false,
        };
        let mut forward = ChannelForward {
            coding,
            connections: ports.0.iter().map(connection).collect(),
            unheard: None,
            unsent: VecDeque::new(),
        };
        for (number, port) in (0..).zip(&ports.0) {
            for channel in [2 * number, 2 * number + 1] {
                let message = coding.encode(channel, &port.to_le_bytes());
                forward.unsent.push_back(message);
            }
        }
        forward
    }

    fn open(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let number = usize::try_from(id.0).ok()?;
        let connection = self.connections.get_mut(number)?;
        (!connection.is_over).then_some(connection)
    }

    /// The channel of a connection's data. Ports are so few that it fits.
    fn channel(id: ConnectionId) -> u8 {
        2 * id.0 as u8
    }
}

impl Conversation for ChannelForward {
    type Heard = Forward;
    type Said = Forward;

    fn receive(&mut self, message: Bytes) {
        self.unheard = match self.coding.decode(message) {
            Some((channel, bytes)) if channel % 2 == 0 => {
                Some((ConnectionId(u64::from(channel / 2)), bytes))
            }
            _ => None,
        };
    }

    fn hear(&mut self) -> Result<Option<Forward>, Broken> {
        let unheard = self.connections.iter_mut().zip(0..);
        for (connection, number) in unheard {
            if !connection.is_heard {
                connection.is_heard = true;
                return Ok(Some(Forward::Open(ConnectionId(number), connection.port)));
            }
        }
        let Some((id, mut bytes)) = self.unheard.take() else {
            return Ok(None);
        };
        if bytes.is_empty() || self.open(id).is_none() {
            return Ok(None);
        }
        let heard = piece(&mut bytes);
        self.unheard = Some((id, bytes));
        Ok(Some(Forward::Data(id, heard)))
    }

    fn say(&mut self, said: Forward) {
        let (Forward::Open(id, _)
        | Forward::Data(id, _)
        | Forward::End(id)
        | Forward::Failed(id, _)) = &said;
        let (id, coding) = (*id, self.coding);
        let Some(connection) = self.open(id) else {
            return;
        };
        let channel = ChannelForward::channel(id);
        match said {
            Forward::Open(..) => {}
            Forward::Data(_, bytes) => self.unsent.push_back(coding.encode(channel, &bytes)),
            Forward::End(_) => connection.is_over = true,
            Forward::Failed(_, message) => {
                connection.is_over = true;
                let message = coding.encode(channel + 1, message.as_bytes());
                self.unsent.push_back(message);
            }
        }
    }

    fn end(&mut self) {
        for connection in &mut self.connections {
            connection.is_over = true;
        }
    }

    fn phase(&self) -> Phase {
        match self.connections.iter().all(|it| it.is_over) {
            true => Phase::Ended,
            false => Phase::Talking,
        }
    }

    fn transmit(&mut self) -> Option<Bytes> {
        self.unsent.pop_front()
    }
}
