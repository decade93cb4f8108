//! Edits by field and place.

use bytes::Bytes;
use tamis_proto::Actions;
use tamis_proto::edit::validate;
use tamis_proto::frame::MAX_PAYLOAD;

use super::order::Node;
use super::state::{Added, Edits};
use super::{Field, Header, HeaderError, HeaderId, HeaderValue, Headers};

/// Bytes on the wire besides name and value: an index, two NULs, a space.
const OVERHEAD: usize = 7;

/// A field to insert another one next to: a [`HeaderId`], or one with [`exactly`](HeaderId::exactly).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Anchor {
    id: HeaderId,
    exact: bool,
}

impl HeaderId {
    /// Asks for a place right next to this field with every MTA.
    ///
    /// Without it a field goes where the MTA can put it by one edit: with Postfix to the very place, with Sendmail
    /// too unless its configuration has other header templates than usual, with others to the top or the end of the
    /// header, whichever is nearer. With it, all fields below the place are removed and written again where
    /// that is what it takes. Needs the action to change header fields beside the one to add them.
    ///
    /// # Examples
    ///
    /// ```
    /// # let mut headers = tamis::message::Headers::new();
    /// # headers.allow(tamis::Actions::ADD_HEADERS | tamis::Actions::CHANGE_HEADERS);
    /// # headers.append("From", "me")?;
    /// let from = headers.first("From").unwrap().id();
    /// headers.insert_after(from.exactly(), "Sender", "list@example.com")?;
    /// # Ok::<(), tamis::message::HeaderError>(())
    /// ```
    #[must_use]
    pub fn exactly(self) -> Anchor {
        Anchor { id: self, exact: true }
    }
}

impl From<HeaderId> for Anchor {
    fn from(id: HeaderId) -> Self {
        Self { id, exact: false }
    }
}

impl Headers {
    /// Adds a field at the end of the header.
    ///
    /// Where the MTA made a field of this name itself (Sendmail: a `Date`, a `Message-Id`), which filters are not
    /// shown, the new one takes its place.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] when the action was not negotiated, or name or value are not fit for a header.
    #[doc(alias = "smfi_addheader")]
    #[doc(alias = "SMFIR_ADDHEADER")]
    pub fn append(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<HeaderValue>,
    ) -> Result<HeaderId, HeaderError> {
        self.add(Node::Ends, false, name.as_ref(), value.into())
    }

    /// Adds a field at the top of the header, above the MTA's own `Received`.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    #[doc(alias = "smfi_insheader")]
    #[doc(alias = "SMFIR_INSHEADER")]
    pub fn prepend(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<HeaderValue>,
    ) -> Result<HeaderId, HeaderError> {
        let place = self.after(Node::Ends);
        // Nothing is there yet: above whatever comes.
        let place = if place == Node::Ends { Node::Frontier } else { place };
        self.add(place, false, name.as_ref(), value.into())
    }

    /// Adds a field above another one; see [`HeaderId::exactly`] for how close.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append), and when there is no such field.
    #[doc(alias = "smfi_insheader")]
    pub fn insert_before(
        &mut self,
        place: impl Into<Anchor>,
        name: impl AsRef<[u8]>,
        value: impl Into<HeaderValue>,
    ) -> Result<HeaderId, HeaderError> {
        let Anchor { id, exact } = place.into();
        self.find(id)?;
        self.add(id.node, exact, name.as_ref(), value.into())
    }

    /// Adds a field below another one; see [`HeaderId::exactly`] for how close.
    ///
    /// # Errors
    ///
    /// As [`insert_before`](Self::insert_before).
    #[doc(alias = "smfi_insheader")]
    pub fn insert_after(
        &mut self,
        place: impl Into<Anchor>,
        name: impl AsRef<[u8]>,
        value: impl Into<HeaderValue>,
    ) -> Result<HeaderId, HeaderError> {
        let Anchor { id, exact } = place.into();
        self.find(id)?;
        let below = match self.after(id.node) {
            Node::Ends if self.edits.is_none() => Node::Frontier,
            below => below,
        };
        self.add(below, exact, name.as_ref(), value.into())
    }

    /// Gives a field another value; name and place stay.
    ///
    /// # Errors
    ///
    /// As [`insert_before`](Self::insert_before); [`HeaderError::Blank`] for a value that the MTA would take for a
    /// removal.
    #[doc(alias = "smfi_chgheader")]
    #[doc(alias = "SMFIR_CHGHEADER")]
    pub fn replace(&mut self, id: HeaderId, value: impl Into<HeaderValue>) -> Result<(), HeaderError> {
        self.permit(Actions::CHANGE_HEADERS)?;
        let value = value.into().checked(self.leading_space)?;
        let name = self.find(id)?.name().as_bytes().len();
        check_length(name, &value)?;
        if value.is_blank() {
            return Err(HeaderError::Blank);
        }
        self.edits().replace(id.node, value);
        Ok(())
    }

    /// Replaces the first field of a name, or adds it at the end where there is none.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace) and [`append`](Self::append).
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<HeaderValue>,
    ) -> Result<HeaderId, HeaderError> {
        match self.first(&name).map(|header| header.id()) {
            Some(id) => self.replace(id, value).map(|()| id),
            None => self.append(name, value),
        }
    }

    /// Removes a field.
    ///
    /// # Errors
    ///
    /// When the action was not negotiated, or there is no such field.
    pub fn remove(&mut self, id: HeaderId) -> Result<(), HeaderError> {
        self.permit(Actions::CHANGE_HEADERS)?;
        self.find(id)?;
        self.edits().remove(id.node);
        Ok(())
    }

    /// Removes all fields of a name and says how many there were.
    ///
    /// # Errors
    ///
    /// When the action was not negotiated.
    pub fn remove_all(&mut self, name: impl AsRef<[u8]>) -> Result<usize, HeaderError> {
        self.permit(Actions::CHANGE_HEADERS)?;
        let name = name.as_ref();
        let found: Vec<HeaderId> = self.all(name).map(|header| header.id()).collect();
        for id in &found {
            self.edits().remove(id.node);
        }
        Ok(found.len())
    }

    /// Adds a field above `place`.
    fn add(
        &mut self,
        place: Node,
        exact: bool,
        name: &[u8],
        value: HeaderValue,
    ) -> Result<HeaderId, HeaderError> {
        self.permit(Actions::ADD_HEADERS)?;
        if exact {
            self.permit(Actions::CHANGE_HEADERS)?;
        }
        validate::header_name(name)?;
        let value = value.checked(self.leading_space)?;
        check_length(name.len(), &value)?;
        let name = Bytes::copy_from_slice(name).into();
        let implied_space = value.implied_space();
        let field = Field { name, value: value.into_text(), implied_space };
        let node = self.edits().add(place, Added { field, exact, removed: false });
        Ok(self.id(node))
    }

    fn permit(&self, action: Actions) -> Result<(), HeaderError> {
        if self.allowed.contains(action) { Ok(()) } else { Err(HeaderError::NotNegotiated(action)) }
    }

    fn find(&self, id: HeaderId) -> Result<Header<'_>, HeaderError> {
        if id.message != self.message {
            return Err(HeaderError::OtherMessage);
        }
        self.view(id.node).ok_or(HeaderError::Removed)
    }

    fn edits(&mut self) -> &mut Edits {
        self.edits.get_or_insert_with(|| Box::new(Edits::new(self.received.len())))
    }
}

fn check_length(name: usize, value: &HeaderValue) -> Result<(), HeaderError> {
    let length = name + value.text().len() + OVERHEAD;
    if length > MAX_PAYLOAD {
        return Err(HeaderError::TooLong { length, limit: MAX_PAYLOAD });
    }
    Ok(())
}
